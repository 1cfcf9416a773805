package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// follow shows the chain until it is done or needs somebody.
func (d Demo) follow(ctx context.Context) (world, error) {
	ctx, cancel := context.WithTimeout(ctx, chainWithin)
	defer cancel()
	events := make(chan func(*world))
	for _, kind := range []string{"imagechains.imagechain.dev", "imagebuilds.imagechain.dev"} {
		go watch(ctx, kind, events)
	}
	seen := world{builds: map[string]Build{}}
	view := view{out: d.Out, terminal: d.Terminal, printer: d.Printer}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case change := <-events:
			change(&seen)
		case <-ticker.C:
		case <-ctx.Done():
			return seen, fmt.Errorf("the chain is not done: %w", ctx.Err())
		}
		if link, is := seen.firstPublished(); is && d.FirstImage != nil {
			d.FirstImage(link)
			d.FirstImage = nil
		}
		view.show(seen, time.Now())
		if seen.chain.Done() {
			view.end()
			return seen, seen.readBuilds(ctx)
		}
		if why := seen.chain.Failed(); why != "" {
			view.end()
			return seen, failure(seen, why)
		}
	}
}

// firstPublished is the first link that has an image.
func (w world) firstPublished() (string, bool) {
	for _, link := range w.chain.Status.Links {
		if link.Published != nil {
			return link.Name, true
		}
	}
	return "", false
}

// readBuilds reads those that the watch has not told yet: where all is up to date, the chain is done at once.
func (w *world) readBuilds(ctx context.Context) error {
	var list struct{ Items []json.RawMessage }
	if err := read(ctx, &list, "get", "imagebuilds.imagechain.dev", "--namespace="+tenant); err != nil {
		return err
	}
	for _, item := range list.Items {
		w.note("ADDED", item)
	}
	return nil
}

// failure is what the status says; nobody has to read a log for it.
func failure(seen world, why string) error {
	problems := []error{errors.New(why)}
	for _, link := range seen.chain.Status.Links {
		if link.State != "Failed" && link.State != "Stalled" {
			continue
		}
		message := link.Message
		if found, there := seen.builds[link.Build]; there && found.Status.Failure != nil {
			message = found.Status.Failure.Message
		}
		problems = append(problems, fmt.Errorf("link %s: %s: %s", link.Name, link.Reason, message))
	}
	return errors.Join(problems...)
}

// watch tells every change of a kind, until the context ends. A stream that breaks is opened again.
func watch(ctx context.Context, kind string, events chan<- func(*world)) {
	for ctx.Err() == nil {
		command := exec.CommandContext(ctx, "kubectl", "get", kind, "--namespace="+tenant, "--watch", "--output-watch-events", "--output=json")
		output, err := command.StdoutPipe()
		if err == nil {
			err = command.Start()
		}
		if err == nil {
			decode(ctx, json.NewDecoder(output), events)
			_ = command.Wait() // A stream that ends is no news: the next one says what is wrong, if anything is.
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func decode(ctx context.Context, stream *json.Decoder, events chan<- func(*world)) {
	for {
		var event struct {
			Type   string
			Object json.RawMessage
		}
		if stream.Decode(&event) != nil {
			return
		}
		select {
		case events <- func(seen *world) { seen.note(event.Type, event.Object) }:
		case <-ctx.Done():
			return
		}
	}
}

// note takes an event over; of other chains, and of what it cannot read, it takes nothing.
func (w *world) note(event string, object []byte) {
	var kind struct{ Kind string }
	if json.Unmarshal(object, &kind) != nil {
		return
	}
	switch kind.Kind {
	case "ImageChain":
		var found Chain
		if json.Unmarshal(object, &found) == nil && found.Metadata.Name == chainName {
			w.chain = found
		}
	case "ImageBuild":
		var found Build
		if json.Unmarshal(object, &found) != nil || found.Spec.ChainRef.Name != chainName {
			return
		}
		if event == "DELETED" {
			delete(w.builds, found.Metadata.Name)
			return
		}
		w.builds[found.Metadata.Name] = found
	}
}
