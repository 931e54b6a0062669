//go:build linux

package image

// The ways to image a file system, from the shortest pause to the longest.
const (
	waySnapshot = "snapshot"         // of a btrfs subvolume
	wayShare    = "reflink"          // FICLONE early, again what changed
	wayTrack    = "copy and track"   // copy early, patch the pages that changed by what the kernel says
	wayPatch    = "copy and patch"   // copy early, compare and patch the files that changed
	wayCompare  = "copy and compare" // compare everything: it does not tell what changed
)

// wayOf is the best way for a file system: whether its blocks can be shared, its
// subvolume be snapshotted, and whether it is in memory.
func wayOf(share, snapshot, memory bool) string {
	switch {
	case snapshot:
		return waySnapshot
	case share:
		return wayShare
	case memory:
		return wayCompare
	}
	return wayPatch
}
