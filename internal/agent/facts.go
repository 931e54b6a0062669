//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// facts are what is read of one member before anything is stopped.
type facts struct {
	plan.ProcessFacts
	data plan.DataInput
	// unnamed tells which of Mappings, by index, are shared memory without a name.
	unnamed map[int]memoryID
}

func (f facts) preflight() ([]model.Refusal, []model.Gap, []model.Object) {
	return plan.Preflight(f.ProcessFacts)
}

// requireRoot refuses early, since everything else would fail with a less
// telling error.
func requireRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &model.RefusedError{Refusals: []model.Refusal{{
		Object: "pilot", Kind: fmt.Sprintf("uid %d", os.Geteuid()),
		Why: "forking other processes needs root", Hint: "run it with sudo",
	}}}
}

// examine reads the facts of every member that runs. Members that are down
// have none. mounts is the mount namespace that the agent has a copy of, or 0.
func examine(members []model.Member, mounts uint64) ([]facts, error) {
	all := make([]facts, len(members))
	for i, m := range members {
		if m.Down() {
			all[i].data.Given, all[i].data.Known = m.Data, m.Known
			continue
		}
		f, err := examineOne(m, mounts)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				return nil, &model.RefusedError{Refusals: []model.Refusal{{
					Member: m.Name, PID: m.PID, Object: "process", Why: "does not exist",
					Hint: "pilot doctor --match NAME lists what is running",
				}}}
			}
			return nil, fmt.Errorf("examine %s (pid %d): %w", m.Name, m.PID, err)
		}
		all[i] = f
	}
	findStrangers(members, all)
	return all, nil
}

// memoryID names memory that has no file with a path of its own.
type memoryID struct{ dev, ino uint64 }

// findStrangers looks for processes outside the set that map the same unnamed
// shared memory as a member: a world could not have both of its users.
func findStrangers(members []model.Member, all []facts) {
	wanted := map[memoryID][]*plan.Mapping{}
	for i := range all {
		for j, id := range all[i].unnamed {
			wanted[id] = append(wanted[id], &all[i].Mappings[j])
		}
	}
	if len(wanted) == 0 {
		return
	}
	for _, pid := range processes() {
		if slices.ContainsFunc(members, func(m model.Member) bool { return m.PID == pid }) {
			continue
		}
		vmas, err := procfs.Maps(pid)
		if err != nil {
			continue // ended meanwhile
		}
		for _, v := range vmas {
			for _, m := range wanted[memoryID{v.Dev, v.Inode}] {
				m.Stranger = pid
			}
		}
	}
}

func examineOne(m model.Member, mounts uint64) (f facts, err error) {
	f.Member, f.AgentPID = m, os.Getpid()
	status, err := procfs.ReadStatus(m.PID)
	if err != nil {
		return f, err
	}
	f.State, f.ParentPID = status.State, status.PPID
	f.Seccomp = status.Seccomp
	if n := len(status.NSpid); n > 0 {
		f.Number = status.NSpid[n-1]
	}
	f.Shadow = strings.Contains(status.ThreadFeatures, "shstk")
	f.Resident = status.Resident
	if f.TIDs, err = procfs.Tasks(m.PID); err != nil {
		return f, err
	}
	f.Credentials = credentials(m.PID, f.TIDs)
	if f.TracerPID = procfs.Tracer(m.PID); f.TracerPID != 0 {
		f.Tracer = comm(f.TracerPID)
	}
	f.readFilters()
	f.Label = label(m.PID)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", m.PID))
	f.KernelTask = errors.Is(err, fs.ErrNotExist)
	if f.KernelTask || strings.HasPrefix(f.State, "Z") {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.Member.Exe = exe
	if f.Foreign, err = foreignNamespaces(m.PID, mounts); err != nil {
		return f, err
	}
	if f.Container, err = containerOf(m.PID); err != nil {
		return f, err
	}
	if f.Rootless, err = rootless(m.PID); err != nil {
		return f, err
	}
	if f.Root, err = os.Readlink(fmt.Sprintf("/proc/%d/root", m.PID)); err != nil {
		return f, err
	}
	if f.Children, err = procfs.Children(m.PID); err != nil {
		return f, err
	}
	if err := f.readTraits(status); err != nil {
		return f, err
	}
	if err := f.readDescriptors(); err != nil {
		return f, err
	}
	if err := f.readMappings(); err != nil {
		return f, err
	}
	f.data.Given, f.data.Known = m.Data, m.Known
	f.data.Args = m.Args
	f.data.Cwd, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", m.PID))
	f.data.Configs = configs(f.data.Args, f.data.Cwd)
	return f, err
}

func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

// foreignNamespaces lists those kinds of namespaces that a member must share
// with the agent and does not. mounts stands for the agent's mount namespace
// where that is a copy.
func foreignNamespaces(pid int, mounts uint64) (out []string, err error) {
	theirs, err := procfs.Namespaces(pid)
	if err != nil {
		return nil, err
	}
	ours, err := procfs.Namespaces(os.Getpid())
	if err != nil {
		return nil, err
	}
	if mounts != 0 {
		ours["mnt"] = mounts
	}
	for _, ns := range []string{"mnt", "net"} {
		if theirs[ns] != ours[ns] {
			out = append(out, ns)
		}
	}
	return out, nil
}

// readDescriptors finds the kind of each descriptor, and the written files.
func (f *facts) readDescriptors() error {
	pidfd, err := sys.PidfdOpen(f.Member.PID)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	fds, err := procfs.FDs(f.Member.PID)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		src := kobj.Source{PID: f.Member.PID, FD: fd}
		if src.Link, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", src.PID, fd)); err != nil {
			continue // closed meanwhile
		}
		if src.Info, err = procfs.ReadFDInfo(src.PID, fd); err != nil {
			continue
		}
		if src.Dup, err = sys.PidfdGetFD(pidfd, fd); err != nil {
			continue
		}
		err := unix.Fstat(int(src.Dup), &src.Stat)
		d := plan.Descriptor{FD: fd, Link: src.Link}
		if kind, kerr := kobj.KindOf(&src); kerr == nil {
			d.Kind, d.Known = kind.Name(), true
		} else {
			d.Kind = src.UnknownKind()
		}
		_ = src.Dup.Close()
		if err != nil {
			return err
		}
		f.Descriptors = append(f.Descriptors, d)
		if src.Stat.Mode&unix.S_IFMT == unix.S_IFREG && src.Stat.Nlink > 0 &&
			src.Info.Flags&unix.O_ACCMODE != unix.O_RDONLY && isData(src.Link) {
			f.data.Written = append(f.data.Written, src.Link)
		}
	}
	return nil
}

// isData tells files on disks from the kernel's own, and from the counters that
// a JVM shows in /tmp, which are memory of the process.
func isData(path string) bool {
	if strings.Contains(path, "/hsperfdata_") {
		return false
	}
	for _, prefix := range []string{"/dev/", "/proc/", "/sys/", "/memfd:"} {
		if strings.HasPrefix(path, prefix) {
			return false
		}
	}
	return strings.HasPrefix(path, "/")
}

func (f *facts) readMappings() error {
	vmas, err := procfs.Smaps(f.Member.PID)
	if err != nil {
		return err
	}
	f.unnamed = map[int]memoryID{}
	for _, v := range vmas {
		if !v.Shared {
			f.Written += int64(v.Anonymous)
		}
		f.Huge += int64(v.AnonHugePages)
		if v.Shared || v.Has("dc") || v.Has("wf") || v.Has("io") || v.Has("pf") || v.Has("um") || v.Has("uw") {
			f.Mappings = append(f.Mappings, plan.Mapping{
				Start: v.Start, End: v.End, Path: v.Path, Shared: v.Shared, Deleted: v.Deleted, Flags: v.Flags,
			})
		}
		if v.Shared && v.Inode != 0 && v.Has("mw") && (v.Deleted || strings.HasPrefix(v.Path, "/memfd:")) {
			f.unnamed[len(f.Mappings)-1] = memoryID{v.Dev, v.Inode}
		}
		if v.Shared && v.Write && !v.Deleted && v.Inode != 0 && isData(v.Path) && !slices.Contains(f.data.Written, v.Path) {
			f.data.Written = append(f.data.Written, v.Path)
		}
	}
	return nil
}

// maxConfig bounds the files that are searched for the names of directories.
const maxConfig = 64 << 10

// configs reads the small files that the arguments name.
func configs(args []string, cwd string) (out []string) {
	for _, arg := range args {
		if _, after, ok := strings.Cut(arg, "="); ok {
			arg = after
		}
		if !strings.Contains(arg, "/") && !strings.Contains(arg, ".") {
			continue
		}
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(cwd, arg)
		}
		fi, err := os.Stat(arg)
		if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxConfig {
			continue
		}
		if text, err := os.ReadFile(arg); err == nil {
			out = append(out, string(text))
		}
	}
	return out
}

// withData completes the members, and their facts, by their data directories.
func withData(members []model.Member, all []facts) []model.Member {
	out := slices.Clone(members)
	for i := range out {
		for j := range all {
			if j != i {
				all[i].data.Others = append(all[i].data.Others, all[j].data.Written...)
			}
		}
		out[i].Data = plan.DataDirs(all[i].data)
		if all[i].Member.Exe != "" {
			out[i].Exe = all[i].Member.Exe
		}
		all[i].Member = out[i]
	}
	return out
}
