package demo

import (
	"slices"
	"time"
)

// Chain is what is read of an ImageChain.
type Chain struct {
	Metadata struct {
		Name       string
		Generation int64
	}
	Spec struct {
		Links []struct {
			Name string
			// Publish is nil where nothing is published.
			Publish map[string]any
		}
	}
	Status struct {
		ObservedGeneration int64
		LastHandledRequest string
		Conditions         []Condition
		Links              []LinkStatus
	}
}

// Condition is one of a status.
type Condition struct{ Type, Status, Reason, Message string }

// LinkStatus is where a link stands.
type LinkStatus struct {
	Name, State, Reason, Message, Build string
	Verified                            *struct{ ImageID, Build string }
	Published                           *Published
}

// Published is what the tags of a link lead to.
type Published struct {
	Repository string
	Tags       []string
	Digest     string
	Build      string
}

// Build is what is read of an ImageBuild.
type Build struct {
	Metadata struct {
		Name, UID         string
		CreationTimestamp time.Time
	}
	Spec struct {
		ChainRef struct{ Name, Link string }
		Causes   []struct{ Type string }
	}
	Status struct {
		Conditions   []Condition
		Stages       []Stage
		Attempts     []Attempt
		Artifact     *Artifact
		Verification []struct {
			Step            string
			Passed          bool
			Tests, Failures int
		}
		Failure *struct{ Stage, Reason, Message, Task string }
	}
}

// Artifact is what a build has made.
type Artifact struct{ Digest, Kind, ImageID, ContentDigest string }

// Content is what was tested, wherever it is: of an image its ID, of a box the digest of its file.
func (a Artifact) Content() string {
	if a.Kind == "Box" {
		return a.ContentDigest
	}
	return a.ImageID
}

// Attempt is one pod of a build.
type Attempt struct {
	Number                              int
	Pod, PodUID, Outcome, Reason, Class string
	Message                             string
}

// Stage is when a container of the build pod ran.
type Stage struct {
	Name                  string
	StartedAt, FinishedAt *time.Time
}

// world is the last that was seen of all of them.
type world struct {
	chain  Chain
	builds map[string]Build
}

// Find is the condition of a type, or an empty one.
func Find(conditions []Condition, kind string) Condition {
	for _, each := range conditions {
		if each.Type == kind {
			return each
		}
	}
	return Condition{}
}

// Link is where one stands, by name.
func (c Chain) Link(name string) LinkStatus {
	for _, each := range c.Status.Links {
		if each.Name == name {
			return each
		}
	}
	return LinkStatus{Name: name, State: "Pending"}
}

// Done tells whether all is published, for the object as it is now.
func (c Chain) Done() bool {
	return c.observed() && Find(c.Status.Conditions, "Ready").Status == "True" &&
		Find(c.Status.Conditions, "UpToDate").Status == "True"
}

// Failed is the sentence that says what somebody must do; empty while there is hope.
func (c Chain) Failed() string {
	if !c.observed() {
		return ""
	}
	for _, kind := range []string{"Stalled", "Degraded"} {
		if found := Find(c.Status.Conditions, kind); found.Status == "True" {
			return found.Reason + ": " + found.Message
		}
	}
	return ""
}

func (c Chain) observed() bool {
	return c.Metadata.Generation > 0 && c.Status.ObservedGeneration == c.Metadata.Generation
}

// running is the stage that a build is in; the engine runs beside the others.
func (b Build) running() (Stage, bool) {
	stages := slices.DeleteFunc(slices.Clone(b.Status.Stages), func(each Stage) bool {
		return each.Name == "engine" || each.StartedAt == nil || each.FinishedAt != nil
	})
	if len(stages) == 0 {
		return Stage{}, false
	}
	return stages[len(stages)-1], true
}

// took is how long a stage took.
func (b Build) took(name string) (time.Duration, bool) {
	for _, each := range b.Status.Stages {
		if each.Name == name && each.StartedAt != nil && each.FinishedAt != nil {
			return each.FinishedAt.Sub(*each.StartedAt), true
		}
	}
	return 0, false
}
