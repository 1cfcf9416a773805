// Package patience is how long we wait for others before we give them up. On a machine that emulates its processors
// the same takes longer.
package patience

import (
	"os"
	"strconv"
	"time"
)

// Variable names the environment's number of times that this machine is slower than others.
const Variable = "SANDBOX_SLOWER"

// Of is how long to wait here for what elsewhere takes no longer than that.
func Of(usual time.Duration) time.Duration {
	times, err := strconv.Atoi(os.Getenv(Variable))
	if err != nil || times < 1 {
		return usual
	}
	return usual * time.Duration(times)
}
