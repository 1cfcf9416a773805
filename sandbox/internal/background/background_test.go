package background

import (
	"context"
	"errors"
	"os"
	"testing"

	"imagechain.dev/sandbox/internal/progress"
)

func TestAResultIsWaitedFor(t *testing.T) {
	group := NewGroup(t.Context())
	defer group.End()
	goOn := make(chan struct{})
	result := Begin(group, "a number", func(context.Context) (int, error) {
		<-goOn
		return 7, nil
	})
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	go func() {
		// It goes on when the wait has said what it is for.
		said := make([]byte, 100)
		if _, err := reader.Read(said); err == nil {
			close(goOn)
		}
	}()
	if found, err := result.Wait(progress.New(writer), "the test"); found != 7 || err != nil {
		t.Errorf("%d, %v", found, err)
	}
}

func TestAFailureEndsTheOthersAndIsTold(t *testing.T) {
	group := NewGroup(t.Context())
	ended := false
	slow := Begin(group, "what never comes", func(ctx context.Context) (int, error) {
		<-ctx.Done()
		ended = true
		return 0, ctx.Err()
	})
	cause := errors.New("it broke")
	Begin(group, "what breaks", func(context.Context) (int, error) { return 0, cause })
	if _, err := slow.Wait(progress.New(os.Stderr), "the test"); !errors.Is(err, cause) {
		t.Errorf("%v is told, not why", err)
	}
	group.End()
	if !ended {
		t.Error("it still runs")
	}
}

func TestWhatIsThereIsGivenEvenAfterAFailure(t *testing.T) {
	group := NewGroup(t.Context())
	result := Begin(group, "a number", func(context.Context) (int, error) { return 7, nil })
	if _, err := result.Wait(progress.New(os.Stderr), "the test"); err != nil {
		t.Fatal(err)
	}
	group.End()
	if found, err := result.Wait(progress.New(os.Stderr), "the test"); found != 7 || err != nil {
		t.Errorf("%d, %v", found, err)
	}
}
