module github.com/pilotexec/pilot

go 1.26
