// Package kindtest forks victims, one for each kind of kernel object, while
// they are busy with it. See package victim for what these do.
package kindtest
