//go:build linux

package victim

import (
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// randomness draws numbers: two from generators whose state is in memory, and
// three that nobody can foresee. It notes them in this order.
func randomness(string) (step, error) {
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return nil, err
	}
	generator := rand.New(rand.NewChaCha8(seed))
	chain := seed // as a DRBG does, by a hash of its state
	return func() (string, error) {
		chain = sha256.Sum256(chain[:])
		var kernel, device [8]byte
		if _, err := unix.Getrandom(kernel[:], 0); err != nil {
			return "", err
		}
		fd, err := unix.Open("/dev/urandom", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		if _, err := unix.Read(fd, device[:]); err != nil {
			return "", err
		}
		return fmt.Sprintf("%016x %x %x %x %s", generator.Uint64(), chain[:8], kernel, device, crand.Text()), nil
	}, nil
}
