// Package background runs work whose results are needed later on.
package background

import (
	"context"
	"sync"
	"time"

	"imagechain.dev/sandbox/internal/progress"
)

// Group is work that belongs together: the first failure ends all of it.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	works  sync.WaitGroup
}

// NewGroup makes a group that ends with the context.
func NewGroup(ctx context.Context) *Group {
	group := &Group{}
	group.ctx, group.cancel = context.WithCancelCause(ctx)
	return group
}

// Context ends with the group.
func (g *Group) Context() context.Context { return g.ctx }

// End ends what still runs, and returns when nothing does.
func (g *Group) End() {
	g.cancel(context.Canceled)
	g.works.Wait()
}

// Result is what a piece of work will have given.
type Result[T any] struct {
	group *Group
	what  string
	done  chan struct{}
	value T
}

// Begin starts a piece of work; what it gives is named for those who wait.
func Begin[T any](group *Group, what string, work func(context.Context) (T, error)) *Result[T] {
	result := &Result[T]{group: group, what: what, done: make(chan struct{})}
	group.works.Go(func() {
		value, err := work(group.ctx)
		if err != nil {
			group.cancel(err)
			return
		}
		result.value = value
		close(result.done)
	})
	return result
}

// soon is how long a wait says nothing: most of what is waited for is there already.
const soon = time.Second

// Wait gives the result, or why the group has ended. Where it has to wait, it says what waits for what.
func (r *Result[T]) Wait(printer *progress.Printer, waiting string) (T, error) {
	select {
	case <-r.done:
		return r.value, nil
	case <-r.group.ctx.Done():
	case <-time.After(soon):
		printer.Say("%s waits for %s", waiting, r.what)
	}
	select {
	case <-r.done:
		return r.value, nil
	case <-r.group.ctx.Done():
		return r.unlessDone()
	}
}

// unlessDone tells why the group has ended, but for what was done before.
func (r *Result[T]) unlessDone() (T, error) {
	select {
	case <-r.done:
		return r.value, nil
	default:
		var none T
		return none, context.Cause(r.group.ctx)
	}
}
