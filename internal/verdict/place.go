package verdict

import (
	"path"
	"regexp"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// maxFrames bounds the functions that are named of a call stack.
const maxFrames = 4

var (
	goroutineLine = regexp.MustCompile(`^goroutine \d+ (gp=\S+ m=\S+ (mp=\S+ )?)?\[`)
	goFrame       = regexp.MustCompile(`^([\w./~-]+\.\S.*?)\(.*\)$`)
	javaFrame     = regexp.MustCompile(`^\s+at (?:\S+/)?([\w.$<>]+)\(([^)]*)\)`)
	// reporting are functions that tell of a failure. Who called them failed.
	reporting = regexp.MustCompile(`^(runtime|log|panic|testing|fmt|log/slog)(\.|$)|/(zap|zapcore|logrus|klog|glog|zerolog)\.|\.\(?\*?\w*\)?\.?(Panic|Fatal)\w*$|/zap\.|^java\.(util|lang)\.`)
)

// place finds in the last words of a program the functions in which it failed,
// innermost first: in the trace of Go's runtime, or of an exception of a JVM.
func place(output []string) []model.Evidence {
	frames := goPlace(output)
	if len(frames) == 0 {
		frames = javaPlace(output)
	}
	if len(frames) == 0 {
		return nil
	}
	return []model.Evidence{{Source: "stack", Text: strings.Join(frames, " < ")}}
}

// goPlace reads the first goroutine that is told of, which is the one that failed.
//
//	goroutine 134 [running]:
//	go.etcd.io/raft/v3.(*raftLog).commitTo(0x2147db3c5d60, 0x260)
//		go.etcd.io/raft/v3@v3.7.0/log.go:326 +0xef
func goPlace(output []string) (frames []string) {
	inside := false
	for i, line := range output {
		switch {
		case !inside:
			inside = goroutineLine.MatchString(line)
			continue
		case line == "" || strings.HasPrefix(line, "created by ") || len(frames) == maxFrames:
			return frames
		}
		m := goFrame.FindStringSubmatch(line)
		if m == nil || reporting.MatchString(m[1]) || i+1 == len(output) {
			continue
		}
		at, _, _ := strings.Cut(strings.TrimSpace(output[i+1]), " ")
		frames = append(frames, short(m[1])+" ("+path.Base(at)+")")
	}
	return frames
}

// version is how the last part of a package's path begins that is none.
var version = regexp.MustCompile(`^v\d+\.`)

// short leaves out the path of a function's package, but for its last part.
func short(function string) string {
	name := path.Base(function)
	if version.MatchString(name) {
		name = path.Join(path.Base(path.Dir(function)), name)
	}
	return name
}

// javaPlace reads the last exception, and of its causes the innermost.
func javaPlace(output []string) (frames []string) {
	for _, line := range output {
		if m := javaFrame.FindStringSubmatch(line); m == nil {
			if exceptionLine.MatchString(line) {
				frames = nil
			}
		} else if len(frames) < maxFrames && !reporting.MatchString(m[1]) {
			frames = append(frames, m[1]+" ("+m[2]+")")
		}
	}
	return frames
}
