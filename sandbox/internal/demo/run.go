package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// kubectl runs it and returns what it prints.
func kubectl(ctx context.Context, arguments ...string) ([]byte, error) {
	return run(exec.CommandContext(ctx, "kubectl", arguments...))
}

// apply gives manifests to the API server.
func apply(ctx context.Context, manifests []byte) error {
	command := exec.CommandContext(ctx, "kubectl", "apply", "--filename=-")
	command.Stdin = bytes.NewReader(manifests)
	_, err := run(command)
	return err
}

// read gets an object, or what else kubectl writes as JSON.
func read(ctx context.Context, into any, arguments ...string) error {
	text, err := kubectl(ctx, append(arguments, "--output=json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func run(command *exec.Cmd) ([]byte, error) {
	var failure bytes.Buffer
	command.Stderr = &failure
	text, err := command.Output()
	if err != nil {
		words := strings.Join(command.Args[:min(len(command.Args), 6)], " ")
		err = fmt.Errorf("%s: %w: %s", words, err, bytes.TrimSpace(failure.Bytes()))
	}
	return text, err
}
