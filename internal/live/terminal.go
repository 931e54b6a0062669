package live

import "io"

// A Size is that of a terminal, in characters.
type Size struct {
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// A Terminal is the user's, at which a shell in a world is typed to.
type Terminal interface {
	// Attach hands the terminal over: from now on what is typed is read from the
	// session, unread by anybody else, and what is written to it is shown as it
	// is. resize is called with the size, then or soon, and whenever it changes.
	Attach(resize func(Size)) (Session, error)
	// Resized tells that the terminal, which is elsewhere, has another size.
	Resized(Size)
}

// A Session is a terminal that was handed over.
type Session interface {
	io.ReadWriter
	// Detach gives the terminal back as it was. Reads end.
	Detach() error
}

// SetTerminal gives the run a terminal: its action is a shell there.
func (s *Steer) SetTerminal(t Terminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terminal = t
}

// Terminal returns the run's terminal, or nil.
func (s *Steer) Terminal() Terminal {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terminal
}
