package model

// A Store is what a member's files hold of one set of data. Stores of one system
// and name, on several members, are replicas of each other.
type Store struct {
	System string `json:"system"` // such as "etcd", "kafka"
	// Name says which data of the system, such as "partition orders-0". Empty for all.
	Name   string `json:"name,omitempty"`
	Member string `json:"member,omitempty"`
	// Path is the directory that its files are in.
	Path    string   `json:"path"`
	Figures []Figure `json:"figures"`
}

// A Figure is one number of a store: in the snapshot, and in the world at its end.
type Figure struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // a Figure constant
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// Kinds of figures.
const (
	// FigurePosition is how far a log goes. Unless something is lost it never goes
	// back.
	FigurePosition = "position"
	// FigureCount is how many there are of something that may be deleted.
	FigureCount = "count"
	// FigureEstimate is a count that compaction, expiry or the like change too.
	FigureEstimate = "estimate"
	// FigureDeleted is how many deletions are on record: so many may be fewer.
	FigureDeleted = "deleted"
)
