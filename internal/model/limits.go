package model

// Limits bound what the worlds of a run may take of the host. What is 0 is
// derived from the host before anything is touched.
type Limits struct {
	// MaxMemory is what each world may take, in bytes, beyond the pages that it
	// shares with production.
	MaxMemory int64 `json:"max_memory,omitempty"`
	// MaxDisk is what each world may write, in bytes.
	MaxDisk int64 `json:"max_disk,omitempty"`
	// MaxMemoryPressure and MaxIOPressure are shares of time, in per cent, in
	// which all of the host's tasks waited for memory, or for a disk. Above it
	// the worlds are ended. 100 never ends them.
	MaxMemoryPressure float64 `json:"max_memory_pressure,omitempty"`
	MaxIOPressure     float64 `json:"max_io_pressure,omitempty"`
}

// Use is what a world took of the host.
type Use struct {
	// Memory is the most that its control group was charged with, in bytes; 0
	// when that is not known.
	Memory int64 `json:"memory_bytes,omitempty"`
	// Written is what it wrote, in bytes: in its copies of the data, its output
	// and its temporary file systems.
	Written int64 `json:"written_bytes,omitempty"`
}
