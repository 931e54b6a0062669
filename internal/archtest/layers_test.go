package archtest

// A layer is the number of a line of the drawing in docs/ARCHITECTURE.md. A
// package imports only packages of lower layers.
type layer int

const (
	data       layer = iota // plain data, on any system
	decisions               // pure: see impure
	edge                    // the kernel edge
	readers                 // of what the kernel tells
	mechanisms              // know the kernel, not pilot
	objects                 // kernel objects, kind by kind
	executors               // snapshot, world, observation
	services                // the API and its state
	faces                   // what users see
	tests                   // whatever only tests import
	commands                // main packages
)

// layers places every package below internal. "x/*" stands for all packages
// below x. Packages that do not exist yet may be listed.
var layers = map[string]layer{
	"abi":     data,
	"config":  data,
	"fault":   data,
	"live":    data,
	"model":   data,
	"nearest": data,
	"peer":    data,
	"wire":    data,

	"causal":   decisions,
	"cut":      decisions,
	"drift":    decisions,
	"filter":   decisions,
	"injury":   decisions,
	"loglines": decisions,
	"mask":     decisions,
	"plan":     decisions,
	"preset":   decisions,
	"records":  decisions,
	"series":   decisions,
	"verdict":  decisions,

	"bpf":      edge,
	"seal":     edge,
	"osthread": edge,
	"sys":      edge,

	"features":  readers,
	"pagetrack": readers,
	"probe":     readers,
	"procfs":    readers,
	"sockdiag":  readers,

	"cgroup":    mechanisms,
	"collapse":  mechanisms,
	"egress":    mechanisms,
	"hotspot":   mechanisms,
	"image":     mechanisms,
	"mountns":   mechanisms,
	"netns":     mechanisms,
	"partition": mechanisms,
	"supervise": mechanisms,
	"tcprepair": mechanisms,
	"terminal":  mechanisms,
	"trace":     mechanisms,
	"tracee":    mechanisms,
	"unwind":    mechanisms,
	"userns":    mechanisms,
	"witness":   mechanisms,
	"worldinit": mechanisms,

	"kobj": objects,

	"capture": executors,
	"journal": executors,
	"observe": executors,
	"spawn":   executors,

	"agent":    services,
	"control":  services,
	"coord":    services,
	"registry": services,

	"cli":         faces,
	"demo":        faces,
	"page":        faces,
	"report":      faces,
	"testcluster": faces,
	"web":         faces,

	"archtest":     tests,
	"e2e":          tests,
	"escapetest":   tests,
	"faulttest":    tests,
	"kindtest":     tests,
	"membertest":   tests,
	"testenv":      tests,
	"victim":       tests,
	"victim/*":     tests,
	"limittest":    tests,
	"livetest":     tests,
	"deadlinetest": tests,
}

// sideways are the imports that are allowed inside a layer.
var sideways = map[[2]string]string{
	{"config", "nearest"}:   "suggests what an unknown key may have meant",
	{"config", "peer"}:      "the form of a peer is checked where its line is known",
	{"live", "model"}:       "what was done to a run is a part of its report",
	{"causal", "loglines"}:  "lines that tell of errors are marked in the tree",
	{"capture", "journal"}:  "every step is recorded with its undo",
	{"spawn", "journal"}:    "every step is recorded with its undo",
	{"spawn", "capture"}:    "a world is made of a snapshot",
	{"supervise", "unwind"}: "what was tried comes with its call stack",
	{"trace", "unwind"}:     "functions of call stacks are named",
	{"observe", "spawn"}:    "what is observed is a world",
	{"series", "verdict"}:   "what a check gave is said in the verdict's words",
	{"series", "records"}:   "files of known systems are told from others",
	{"cli", "report"}:       "commands print reports",
	{"cli", "page"}:         "and write them as HTML",
	{"demo", "testcluster"}: "the demo's production is a test cluster",
}

// impure are packages of the standard library that decisions do not import, nor
// what is in the directories below those.
var impure = []string{"os", "net", "syscall", "io/ioutil", "math/rand", "plugin", "unsafe"}

// Who may import what else touches the kernel or memory directly. The aim is
// sys alone; what is listed beside it may shrink and must not grow without a
// word in the review.
var restricted = map[string][]string{
	"unsafe": {
		"sys",
		"victim", "victim/*", // raw system calls, in tests only
	},
	"golang.org/x/sys/unix": {
		"sys",
		// They use constants and plain calls that sys would only pass on.
		"agent", "capture", "image", "kobj", "observe", "pagetrack", "seal", "spawn", "supervise", "trace", "tracee", "worldinit",
		"victim", "victim/*",
	},
}

// portable are the packages that build on any system.
var portable = []string{"cli", "report", "verdict", "config", "registry", "model", "plan", "causal", "nearest", "peer", "injury", "mask", "page", "records", "preset", "probe", "drift", "live", "control"}
