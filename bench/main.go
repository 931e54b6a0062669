//go:build linux

// Command bench measures pilot, each figure beside a peer or the kernel's own
// call in the same run, and prints the table of docs/performance.md.
//
//	go run ./bench [-run REGEXP] [-systems REGEXP] [-rounds N] [-o FILE]
//
// Of FILE only the sections of the cases that were run are written anew.
//
// It needs root, a C compiler, and what the test clusters need.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/worldinit"
)

// A bench is what a case may use.
type bench struct {
	ctx    context.Context
	dir    string // temporary, on a disk
	victim string // the compiled victim.c
	rounds int
	system *regexp.Regexp // of the clusters
}

// cases are all measurements, in the order of the document.
var cases = []struct {
	name  string
	title string
	text  string // what is compared, and what a user feels of it
	run   func(*bench) (table, error)
}{
	{"fork", "The pause against fork(2)",
		"A program with so much memory forks itself; then pilot takes snapshots of the same process. Goal: at most 1.25 times as long, and 2 ms.", (*bench).forks},
	{"threads", "The pause by threads",
		"Beside it: seizing, interrupting, reading and letting go of each thread with bare ptrace calls.", (*bench).threads},
	{"connections", "The pause by connections",
		"Connections whose ends are both in the cluster count twice. Beside it: a duplicate of each end (pidfd_getfd) and one getsockopt.", (*bench).connections},
	{"profile", "What a pause consists of",
		"Three etcd members with a load, without data. The clones are made while the rest is read. Below: what the agent itself did meanwhile.", (*bench).profile},
	{"filesystem", "The pause by file system",
		"Clusters whose clients write as fast as they can, alone and while a whole run goes on, in turn; data on new file systems, on loop devices but for tmpfs. etcd has logs of 64 MiB. The slowest write is of all runs.", (*bench).filesystems},
	{"collapse", "Huge pages by --collapse",
		"The pause of the same process before and after its memory was put into huge pages, which gets a tenth of the time.", (*bench).collapses},
	{"worlds", "Further worlds of one snapshot",
		"How long it takes until a world is complete, the snapshot being there, and what memory its processes have for themselves before they run. Beside it: fork(2) of the member.", (*bench).worlds},
	{"series", "Run after run",
		"What of production and of the host grows when one process is piloted again and again.", (*bench).series},
	{"cluster", "Production under load",
		"Clients write as fast as they can. Rounds without pilot alternate with rounds in which a whole run goes on: copy, pause, trial and control world. Goal: 0.90 of the writes. There is no idle agent to measure: between runs nothing of pilot runs.", (*bench).full},
	{"phases", "What each phase of a run takes from production",
		"Clients write as fast as they can. Each phase's share of the writes that there were in 7 s before the run, and how many seconds of production that costs.", (*bench).phases},
	{"half", "Production at half its load",
		"Likewise, but the clients want half as many writes as they got in 7 s of writing as fast as they can: processors are free, as they are in production.", (*bench).half},
	{"criu", "The pause against CRIU",
		"`criu dump --leave-running` of the same process, which has to write its memory to a file while it is frozen. Goal: 20 times as long at 1 GiB.", (*bench).criu},
}

func main() {
	worldinit.Reexec()
	agent.Reexec()
	if os.Args[0] == agentName {
		agentMain()
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("run", "", "only the cases that match this regular `expression`")
	systems := flag.String("systems", "", "only the clusters that match this regular `expression`")
	rounds := flag.Int("rounds", 9, "median of so many `rounds`")
	output := flag.String("o", "", "put the sections into this `file`")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	system, err := regexp.Compile(*systems)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root")
	}
	dir, err := os.MkdirTemp("/var/tmp", "pilot-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: context.Background(), dir: dir, rounds: *rounds, system: system}
	if err := b.compile(); err != nil {
		return err
	}
	for _, c := range cases {
		if !match.MatchString(c.name) {
			continue
		}
		t, err := c.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		section := fmt.Sprintf("## %s\n\n%s\n\n%s\n%s\n", c.title, c.text, t, machine(*rounds))
		fmt.Println(section)
		if *output == "" {
			continue
		}
		if err := keep(*output, c.title, section); err != nil {
			return err
		}
	}
	return nil
}
