//go:build linux

package testcluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// Paths are the absolute paths of what Build made. Those of kinds that were
// not asked for are empty; Sysprobe is always there.
type Paths struct {
	Sysprobe      string
	Etcd, Etcdctl string
	NATS          string
	Java          string
	ZooKeeperLib  string // directory of jars
	KafkaLib      string // the same
	Redis         string
	RedisLib      string // directory for LD_LIBRARY_PATH, or empty
}

// Build makes the servers of the given kinds, of all without any, and the
// client sysprobe. What is in the cache already is not made again.
//
// It needs the source tree, a Go toolchain, and what a kind needs: Java and
// Maven for ZooKeeper and Kafka, redis-server or apt-get for Redis.
func Build(ctx context.Context, kinds ...Kind) (Paths, error) {
	if len(kinds) == 0 {
		kinds = Kinds
	}
	src, err := sourceDir()
	if err != nil {
		return Paths{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Paths{}, err
	}
	b := &builder{ctx: ctx, src: src, cache: filepath.Join(cache, "pilot-systems")}
	unlock, err := b.lock()
	if err != nil {
		return Paths{}, err
	}
	defer unlock()

	var p Paths
	if p.Sysprobe, err = b.goBinary("sysprobe"); err != nil {
		return Paths{}, err
	}
	for _, k := range kinds {
		switch k {
		case Etcd:
			if p.Etcd, err = b.goBinary("etcd"); err == nil {
				p.Etcdctl, err = b.goBinary("etcdctl")
			}
		case NATS:
			p.NATS, err = b.goBinary("nats-server")
		case ZooKeeper:
			p.Java, p.ZooKeeperLib, err = b.jars("zookeeper")
		case Kafka:
			p.Java, p.KafkaLib, err = b.jars("kafka")
		case Redis:
			p.Redis, p.RedisLib, err = b.redis()
		default:
			err = fmt.Errorf("unknown kind %q", k)
		}
		if err != nil {
			return Paths{}, fmt.Errorf("build %s: %w", k, err)
		}
	}
	return p, nil
}

// sourceDir finds the module "systems": beside this file, or else in a parent
// of the working directory.
func sourceDir() (string, error) {
	var candidates []string
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		candidates = append(candidates, filepath.Join(filepath.Dir(file), "..", "..", "systems"))
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		candidates = append(candidates, filepath.Join(dir, "systems"))
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "sysprobe")); err == nil {
			return filepath.Clean(dir), nil
		}
	}
	return "", errors.New("the servers are built from pilot's source tree, which was not found: run this inside it")
}

type builder struct {
	ctx   context.Context
	src   string // the module "systems"
	cache string
}

// lock keeps others from building the same thing at the same time.
func (b *builder) lock() (unlock func(), err error) {
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(b.cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err == nil {
			return func() { f.Close() }, nil
		} else if err != syscall.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// cached returns the directory NAME-SUM of the cache, where SUM stands for the
// source files. Unless it exists, fill makes its content in a directory that
// is renamed when fill succeeds.
func (b *builder) cached(name string, sources []string, fill func(dir string) error) (string, error) {
	sum, err := b.sum(sources)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, name+"-"+sum)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(b.cache, name+".tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

// sum hashes files and directories of the module "systems", and the name of
// the Go toolchain.
func (b *builder) sum(sources []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	for _, source := range sources {
		err := filepath.WalkDir(filepath.Join(b.src, source), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n%s", strings.TrimPrefix(path, b.src), len(data), data)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

func (b *builder) goBinary(name string) (string, error) {
	sources := []string{"go.mod", "go.sum", filepath.Join("cmd", name)}
	dir, err := b.cached(name, sources, func(dir string) error {
		return b.run([]string{"CGO_ENABLED=0"}, b.src,
			"go", "build", "-buildvcs=false", "-trimpath", "-o", filepath.Join(dir, name), "./cmd/"+name)
	})
	return filepath.Join(dir, name), err
}

// jars resolves what a directory of the module "systems" names to Maven.
func (b *builder) jars(name string) (java, lib string, err error) {
	if java, err = exec.LookPath("java"); err != nil {
		return "", "", err
	}
	if java, err = filepath.EvalSymlinks(java); err != nil {
		return "", "", err
	}
	lib, err = b.cached(name, []string{filepath.Join(name, "pom.xml")}, func(dir string) error {
		return b.run(nil, filepath.Join(b.src, name),
			"mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	})
	return java, lib, err
}

// redisPackages are the Debian packages of Redis and of those libraries that
// not every system has.
var redisPackages = []string{"redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1"}

// redis takes the server that is installed. Otherwise it unpacks Debian's
// packages into the cache, which installs and starts nothing.
func (b *builder) redis() (server, lib string, err error) {
	if server, err := exec.LookPath("redis-server"); err == nil {
		server, err = filepath.Abs(server)
		return server, "", err
	}
	root, err := b.cached("redis", nil, func(dir string) error {
		download := append([]string{"apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"}, redisPackages...)
		if err := b.run(nil, dir, download...); err != nil {
			// The list of packages may be missing or old.
			if b.run(nil, dir, "apt-get", "-q", "update") != nil {
				return err
			}
			if err := b.run(nil, dir, download...); err != nil {
				return err
			}
		}
		debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil {
			return err
		}
		for _, deb := range debs {
			if err := b.run(nil, dir, "dpkg", "-x", deb, dir); err != nil {
				return err
			}
			if err := os.Remove(deb); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	libs, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu"))
	if err != nil || len(libs) == 0 {
		return "", "", fmt.Errorf("%s: no libraries were unpacked", root)
	}
	// Links are not resolved: the program is redis-check-rdb as well, and goes
	// by its name.
	return filepath.Join(root, "usr", "bin", "redis-server"), libs[0], nil
}

// run executes a build step; its output is in the error only.
func (b *builder) run(env []string, dir string, argv ...string) error {
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, tail(out, 2000))
	}
	return nil
}

// tail returns the end of out.
func tail(out []byte, n int) string {
	if len(out) > n {
		out = out[len(out)-n:]
	}
	return strings.TrimSpace(string(out))
}
