package demo

import (
	"slices"
	"time"
)

// chain is what is read of an ImageChain.
type chain struct {
	Metadata struct {
		Name       string
		Generation int64
	}
	Spec struct {
		Links []struct{ Name string }
	}
	Status struct {
		ObservedGeneration int64
		Conditions         []condition
		Links              []linkStatus
	}
}

type condition struct{ Type, Status, Reason, Message string }

type linkStatus struct {
	Name, State, Reason, Message, Build string
	Verified                            *struct{ ImageID, Build string }
	Published                           *published
}

type published struct {
	Repository string
	Tags       []string
	Digest     string
	Build      string
}

// build is what is read of an ImageBuild.
type build struct {
	Metadata struct{ Name string }
	Spec     struct {
		ChainRef struct{ Name, Link string }
		Causes   []struct{ Type string }
	}
	Status struct {
		Conditions   []condition
		Stages       []stage
		Duration     string
		Attempts     []struct{ Pod string }
		Artifact     *struct{ ImageID string }
		Verification []struct {
			Step            string
			Tests, Failures int
		}
		Failure *struct{ Stage, Reason, Message, Task string }
	}
}

type stage struct {
	Name                  string
	StartedAt, FinishedAt *time.Time
}

// world is the last that was seen of all of them.
type world struct {
	chain  chain
	builds map[string]build
}

func find(conditions []condition, kind string) condition {
	for _, each := range conditions {
		if each.Type == kind {
			return each
		}
	}
	return condition{}
}

func (c chain) link(name string) linkStatus {
	for _, each := range c.Status.Links {
		if each.Name == name {
			return each
		}
	}
	return linkStatus{Name: name, State: "Pending"}
}

// done tells whether all is published, for the object as it is now.
func (c chain) done() bool {
	return c.observed() && find(c.Status.Conditions, "Ready").Status == "True" &&
		find(c.Status.Conditions, "UpToDate").Status == "True"
}

// failed is the sentence that says what somebody must do; empty while there is hope.
func (c chain) failed() string {
	if !c.observed() {
		return ""
	}
	for _, kind := range []string{"Stalled", "Degraded"} {
		if found := find(c.Status.Conditions, kind); found.Status == "True" {
			return found.Reason + ": " + found.Message
		}
	}
	return ""
}

func (c chain) observed() bool {
	return c.Metadata.Generation > 0 && c.Status.ObservedGeneration == c.Metadata.Generation
}

// running is the stage that a build is in; the engine runs beside the others.
func (b build) running() (stage, bool) {
	stages := slices.DeleteFunc(slices.Clone(b.Status.Stages), func(each stage) bool {
		return each.Name == "engine" || each.StartedAt == nil || each.FinishedAt != nil
	})
	if len(stages) == 0 {
		return stage{}, false
	}
	return stages[len(stages)-1], true
}

// seconds is how long a stage took.
func (b build) seconds(name string) (time.Duration, bool) {
	for _, each := range b.Status.Stages {
		if each.Name == name && each.StartedAt != nil && each.FinishedAt != nil {
			return each.FinishedAt.Sub(*each.StartedAt), true
		}
	}
	return 0, false
}
