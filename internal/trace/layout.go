//go:build linux

package trace

import "github.com/pilotexec/pilot/internal/bpf"

// A layout says where the running kernel keeps what the programs read. The
// kernel tells it itself, in its type information.
type layout struct {
	taskPID, taskLeader, taskFiles, taskMM, taskSignal, taskExit int32
	pidLevel, pidNumbers, spaceInum                              int32
	filesTable, tableMost, tableFDs                              int32
	fileInode, fileMode, filePrivate, inodeMode                  int32
	inodeIno, socketSk                                           int32
	skFamily, skNum, skDport, skDaddr, skRcv, skDaddr6, skRcv6   int32
	skNet, netInum, skSocket, skProtocol, skErr, skShutdown      int32
	taskBase,
	signalLive, signalCode, mmArgs, mmArgsEnd int32
}

// readLayout asks the kernel's type information.
func readLayout() (*layout, error) {
	kernel, err := bpf.ReadLayout()
	if err != nil {
		return nil, err
	}
	var l layout
	for _, f := range []struct {
		to   *int32
		typ  string
		path []string
	}{
		{&l.taskPID, "task_struct", []string{"thread_pid"}},
		{&l.taskLeader, "task_struct", []string{"group_leader"}},
		{&l.taskFiles, "task_struct", []string{"files"}},
		{&l.taskMM, "task_struct", []string{"mm"}},
		{&l.taskSignal, "task_struct", []string{"signal"}},
		{&l.taskExit, "task_struct", []string{"exit_code"}},
		{&l.taskBase, "task_struct", []string{"thread", "fsbase"}},
		{&l.pidLevel, "pid", []string{"level"}},
		{&l.pidNumbers, "pid", []string{"numbers"}},
		{&l.spaceInum, "pid_namespace", []string{"ns", "inum"}},
		{&l.filesTable, "files_struct", []string{"fdt"}},
		{&l.tableMost, "fdtable", []string{"max_fds"}},
		{&l.tableFDs, "fdtable", []string{"fd"}},
		{&l.fileInode, "file", []string{"f_inode"}},
		{&l.fileMode, "file", []string{"f_mode"}},
		{&l.filePrivate, "file", []string{"private_data"}},
		{&l.inodeMode, "inode", []string{"i_mode"}},
		{&l.inodeIno, "inode", []string{"i_ino"}},
		{&l.socketSk, "socket", []string{"sk"}},
		{&l.skFamily, "sock", []string{"__sk_common", "skc_family"}},
		{&l.skNum, "sock", []string{"__sk_common", "skc_num"}},
		{&l.skDport, "sock", []string{"__sk_common", "skc_dport"}},
		{&l.skDaddr, "sock", []string{"__sk_common", "skc_daddr"}},
		{&l.skRcv, "sock", []string{"__sk_common", "skc_rcv_saddr"}},
		{&l.skDaddr6, "sock", []string{"__sk_common", "skc_v6_daddr"}},
		{&l.skRcv6, "sock", []string{"__sk_common", "skc_v6_rcv_saddr"}},
		{&l.skNet, "sock", []string{"__sk_common", "skc_net", "net"}},
		{&l.netInum, "net", []string{"ns", "inum"}},
		{&l.skProtocol, "sock", []string{"sk_protocol"}},
		{&l.skSocket, "sock", []string{"sk_socket"}},
		{&l.skErr, "sock", []string{"sk_err"}},
		{&l.skShutdown, "sock", []string{"sk_shutdown"}},
		{&l.signalLive, "signal_struct", []string{"live"}},
		{&l.signalCode, "signal_struct", []string{"group_exit_code"}},
		{&l.mmArgs, "mm_struct", []string{"arg_start"}},
		{&l.mmArgsEnd, "mm_struct", []string{"arg_end"}},
	} {
		if *f.to, err = kernel.Offset(f.typ, f.path...); err != nil {
			return nil, err
		}
	}
	return &l, nil
}
