//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// A Mode is how a terminal treats what is typed and shown, termios(3).
type Mode unix.Termios

// TerminalMode reads the mode of a terminal; it fails for what is none.
func TerminalMode(fd FD) (*Mode, error) {
	t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
	return (*Mode)(t), os.NewSyscallError("ioctl tcgets", err)
}

// SetTerminalMode does not wait until all is shown: a terminal may be held.
func SetTerminalMode(fd FD, m *Mode) error {
	return os.NewSyscallError("ioctl tcsets", unix.IoctlSetTermios(int(fd), unix.TCSETS, (*unix.Termios)(m)))
}

// Raw is m without anything done to what passes: cfmakeraw of termios(3).
func (m Mode) Raw() *Mode {
	m.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	m.Oflag &^= unix.OPOST
	m.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	m.Cflag = m.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	m.Cc[unix.VMIN], m.Cc[unix.VTIME] = 1, 0
	return &m
}

// TerminalSize is in characters.
func TerminalSize(fd FD) (rows, cols uint16, err error) {
	w, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, os.NewSyscallError("ioctl tiocgwinsz", err)
	}
	return w.Row, w.Col, nil
}

// SetTerminalSize tells the processes at the terminal, too: SIGWINCH.
func SetTerminalSize(fd FD, rows, cols uint16) error {
	return os.NewSyscallError("ioctl tiocswinsz", unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
}

// PeerTerminal opens the slave of a pseudo-terminal's master, by no path:
// ioctl_tty(2), TIOCGPTPEER. The slave is unlocked.
func PeerTerminal(master FD) (FD, error) {
	if err := unix.IoctlSetPointerInt(int(master), unix.TIOCSPTLCK, 0); err != nil {
		return -1, os.NewSyscallError("ioctl tiocsptlck", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, os.NewSyscallError("ioctl tiocgptpeer", errno)
	}
	return FD(fd), nil
}
