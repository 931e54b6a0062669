// Package limittest pilots victims that turn greedy in their world, and wants
// production to go on, the worlds to be ended, the verdict to say so, and
// nothing to be left. See package victim for what these do.
package limittest
