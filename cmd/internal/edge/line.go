package edge

import "container/list"

// A line holds connections without a live socket. The idle ones come first, the longest idle
// at the front; then the mark; then those with a request under way. Moving a connection
// allocates nothing.
type line struct {
	all  list.List
	mark *list.Element
}

func newLine() *line {
	l := &line{}
	l.mark = l.all.PushBack((*connection)(nil))
	return l
}

func (l *line) add(c *connection) *list.Element { return l.all.InsertBefore(c, l.mark) }

func (l *line) idle(e *list.Element)   { l.all.MoveBefore(e, l.mark) }
func (l *line) busy(e *list.Element)   { l.all.MoveToBack(e) }
func (l *line) remove(e *list.Element) { l.all.Remove(e) }
func (l *line) len() int               { return l.all.Len() - 1 }

// longestIdle returns the connection that has been idle for the longest time, or nil.
func (l *line) longestIdle() *connection { return l.all.Front().Value.(*connection) }
