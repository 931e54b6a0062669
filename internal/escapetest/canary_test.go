//go:build linux

package escapetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A canary is a process of the host that is not a member. It holds one of each
// thing that could be reached, and notes what reaches it.
type canary struct {
	Dir       string
	PID       int // of the canary
	TCP4      int // ports
	TCP6      int
	UDP4      int
	Multicast int
	Abstract  string
	Early     string // unix sockets with a path
	Late      string // bound after the worlds were built
	Run       string
	FIFO      string
	LateFIFO  string
	File      string // a file that the canary has mapped and open
	Exe       string
	SysV      int // the key of a segment
	Queue     string
	PTY       string

	mu    sync.Mutex
	hits  []string
	files map[string]string
	shm   []byte
	shmID int
}

// magic is what must not change, and what must not be read outside.
const magic = "canary: production's own bytes\n"

func (c *canary) hit(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits = append(c.hits, fmt.Sprintf(format, args...))
}

// hatch makes everything. late is what is made when the worlds exist.
func hatch(dir, run string) (c *canary, err error) {
	c = &canary{
		Dir: dir, PID: os.Getpid(), files: map[string]string{},
		Abstract: fmt.Sprintf("pilot-canary-%d", os.Getpid()),
		Early:    filepath.Join(dir, "early.sock"), Late: filepath.Join(dir, "late.sock"),
		Run:  filepath.Join(run, fmt.Sprintf("pilot-canary-%d.sock", os.Getpid())),
		FIFO: filepath.Join(dir, "fifo"), LateFIFO: filepath.Join(dir, "late.fifo"),
		File: filepath.Join(dir, "file"), Exe: filepath.Join(dir, "setuid"),
		SysV: 0x50494c4f + os.Getpid(), Queue: fmt.Sprintf("/pilot-canary-%d", os.Getpid()),
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals) // all that can be caught
	go func() {
		for s := range signals {
			if s != syscall.SIGURG { // Go's own
				c.hit("signal %v", s)
			}
		}
	}()
	if err := c.network(); err != nil {
		return nil, err
	}
	for _, path := range []string{c.Early, c.Run} {
		if err := c.listenUnix(path); err != nil {
			return nil, err
		}
	}
	if err := c.listenUnix("@" + c.Abstract); err != nil {
		return nil, err
	}
	if err := c.readFIFO(c.FIFO); err != nil {
		return nil, err
	}
	if err := c.ipc(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.File, []byte(magic), 0o644); err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.Exe, self, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(c.Exe, 0o4755); err != nil {
		return nil, err
	}
	for _, path := range []string{c.File, c.Exe, "/dev/null", "/etc/hostname"} {
		c.files[path] = look(path)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(filepath.Join(dir, "canary.json"), text, 0o644)
}

// late makes what appears only when the worlds are there already.
func (c *canary) late() error {
	if err := c.listenUnix(c.Late); err != nil {
		return err
	}
	return c.readFIFO(c.LateFIFO)
}

func (c *canary) network() error {
	for _, l := range []struct {
		network, address string
		port             *int
	}{{"tcp4", "127.0.0.1:0", &c.TCP4}, {"tcp6", "[::1]:0", &c.TCP6}} {
		ln, err := net.Listen(l.network, l.address)
		if err != nil {
			return err
		}
		*l.port = ln.Addr().(*net.TCPAddr).Port
		go c.accept(ln, l.network)
	}
	conn, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	c.UDP4 = conn.LocalAddr().(*net.UDPAddr).Port
	go c.receive(conn, "udp")
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	group, err := net.ListenMulticastUDP("udp4", lo, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251)})
	if err != nil {
		return err
	}
	c.Multicast = group.LocalAddr().(*net.UDPAddr).Port
	go c.receive(group, "multicast")
	return nil
}

func (c *canary) accept(ln net.Listener, what string) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		c.hit("connection to %s %s", what, ln.Addr())
		_ = conn.Close()
	}
}

func (c *canary) receive(conn net.PacketConn, what string) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		c.hit("%s packet from %v: %q", what, from, buf[:n])
	}
}

func (c *canary) listenUnix(path string) error {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go c.accept(ln, "unix")
	return nil
}

func (c *canary) readFIFO(path string) error {
	if err := unix.Mkfifo(path, 0o666); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0) // read and write: it never ends
	if err != nil {
		return err
	}
	if _, err := f.WriteString(magic); err != nil { // to be stolen
		return err
	}
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
			if err != nil || n != len(magic) {
				c.hit("fifo %s holds %d bytes, want %d", path, n, len(magic))
				return
			}
		}
	}()
	return nil
}

// ipc makes objects of the host's IPC name spaces, and a terminal.
func (c *canary) ipc() error {
	id, err := unix.SysvShmGet(c.SysV, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	if err != nil {
		return os.NewSyscallError("shmget", err)
	}
	c.shm, err = unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return os.NewSyscallError("shmat", err)
	}
	c.shmID = id
	copy(c.shm, magic)
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		return os.NewSyscallError("ioctl", err)
	}
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return os.NewSyscallError("ioctl", err)
	}
	c.PTY = fmt.Sprintf("/dev/pts/%d", n)
	go func() {
		buf := make([]byte, 256)
		if n, err := ptmx.Read(buf); err == nil {
			c.hit("terminal got %q", buf[:n])
		}
	}()
	return nil
}

// look is what can be seen of a file: its state and, of a small one, its bytes.
func look(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	text := ""
	if st.Size < 4096 && st.Mode&unix.S_IFMT == unix.S_IFREG {
		b, _ := os.ReadFile(path)
		text = string(b)
	}
	return fmt.Sprintf("mode %o owner %d:%d size %d modified %v inode %d %q", st.Mode, st.Uid, st.Gid, st.Size, st.Mtim, st.Ino, text)
}

// report lists what reached the canary, and what it finds changed.
func (c *canary) report() []string {
	c.mu.Lock()
	out := slices.Clone(c.hits)
	c.mu.Unlock()
	for path, was := range c.files {
		if is := look(path); is != was {
			out = append(out, fmt.Sprintf("%s: was %s, is %s", path, was, is))
		}
	}
	if !bytes.HasPrefix(c.shm, []byte(magic)) {
		out = append(out, fmt.Sprintf("shared memory holds %q", c.shm[:32]))
	}
	f, err := os.OpenFile(c.File, os.O_RDWR, 0)
	if err != nil {
		return append(out, err.Error())
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		out = append(out, "somebody holds a lock on "+c.File)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		out = append(out, "somebody holds a record lock on "+c.File)
	}
	return out
}

// canaryMain hatches a canary and serves its owner: a line "late" makes the late
// things, a line "report" asks for hits.
func canaryMain() {
	c, err := hatch(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	defer func() {
		_ = os.Remove(c.Run)
		_, _ = unix.SysvShmCtl(c.shmID, unix.IPC_RMID, nil)
	}()
	fmt.Println("ready")
	var line string
	for {
		if _, err := fmt.Scanln(&line); err != nil {
			return
		}
		switch line {
		case "late":
			if err := c.late(); err != nil {
				fmt.Println("failed:", err)
				continue
			}
			fmt.Println("ready")
		case "report":
			fmt.Println(strings.ReplaceAll(strings.Join(c.report(), "; "), "\n", " "))
		}
	}
}
