// Package demo shows a chain from its manifest to tested, published images: it installs the operator from
// its charts into a cluster, applies examples/takelage, shows what happens, and boots what came out.
package demo

import (
	"context"
	"fmt"
	"io"
	"time"

	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/progress"
)

// Names of what is made in the cluster.
const (
	release   = "imagechain"
	system    = "imagechain-system"
	builds    = "imagechain-builds"
	tenant    = "takelage"
	chainName = "takelage"
	shown     = "takelage-demo"
)

// chainWithin bounds the wait for the chain. Measured: three links take 5 minutes on two cores.
const chainWithin = time.Hour

// Demo is a run against the cluster of the environment.
type Demo struct {
	Settings
	Printer *progress.Printer
	// Out is where the table and the summary go.
	Out io.Writer
	// Terminal tells whether what was printed to Out can be written over.
	Terminal bool
	// Await, where it is set, waits for a part that is still being made; waiting is what needs it.
	Await func(part Part, waiting string) error
	// FirstImage, where it is set, is called once an image is published.
	FirstImage func(link string)
}

// Part is what the demo needs beside a cluster.
type Part string

// The parts, in the order in which they are needed.
const (
	BuildKit Part = "BuildKit"
	Program  Part = "the operator's program"
	Helm     Part = "helm"
	DNS      Part = "DNS"
)

// Run does all of it. What is there already is left or brought up to date, so it can be run again.
func (d Demo) Run(ctx context.Context) error {
	if err := d.Install(ctx); err != nil {
		return err
	}
	if err := d.ApplyExample(ctx); err != nil {
		return err
	}
	seen, err := d.follow(ctx)
	if err != nil {
		return err
	}
	page, err := d.boot(ctx, seen)
	if err != nil {
		return err
	}
	fmt.Fprint(d.Out, summary(seen, page, d.Settings))
	return nil
}

// Install makes the images and installs both charts.
func (d Demo) Install(ctx context.Context) error {
	if d.Await == nil {
		if err := d.check(ctx); err != nil {
			return err
		}
	}
	// What it waits for is the network, while the other parts are compiled.
	builder, err := d.image(ctx, d.BuilderImage, images.Builder(d.Checkout), BuildKit)
	if err != nil {
		return err
	}
	operator, err := d.image(ctx, d.OperatorImage, images.Operator(d.Checkout, d.Program), BuildKit, Program)
	if err != nil {
		return err
	}
	if err := d.await("the installation", Helm, DNS); err != nil {
		return err
	}
	return d.installCharts(ctx, operator, builder)
}

// image is one that the environment names, or ours, once the parts are there that it is built with.
func (d Demo) image(ctx context.Context, named string, own images.Own, parts ...Part) (string, error) {
	if named != "" {
		return named, nil
	}
	if err := d.await("the image of the "+own.Name, parts...); err != nil {
		return "", err
	}
	return own.Publish(ctx, d.Registry, d.Printer)
}

func (d Demo) await(waiting string, parts ...Part) error {
	if d.Await == nil {
		return nil
	}
	for _, part := range parts {
		if err := d.Await(part, waiting); err != nil {
			return err
		}
	}
	return nil
}

// step prints what takes a while, and how it ended.
func (d Demo) step(title string, act func() error) error {
	step := d.Printer.Start("%s", title)
	if err := act(); err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	return nil
}
