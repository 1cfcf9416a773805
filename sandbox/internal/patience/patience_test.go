package patience

import (
	"testing"
	"time"
)

func TestOnlyANumberMakesItLonger(t *testing.T) {
	for value, wanted := range map[string]time.Duration{"": time.Minute, "1": time.Minute, "12": 12 * time.Minute, "0": time.Minute, "-3": time.Minute, "x": time.Minute} {
		t.Setenv(Variable, value)
		if found := Of(time.Minute); found != wanted {
			t.Errorf("with %q it is %s, not %s", value, found, wanted)
		}
	}
}
