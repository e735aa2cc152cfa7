// Package say is what the programs have in common.
package say

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type answer struct {
	Arn    string  `json:"arn,omitempty"`
	Error  string  `json:"error,omitempty"`
	TookMs float64 `json:"tookMs"`
}

// Identity says who AWS says it is, at the start and again for each line of its input.
func Identity(ask func() (string, error)) {
	say(ask)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		say(ask)
	}
}

func say(ask func() (string, error)) {
	started := time.Now()
	arn, err := ask()
	said := answer{Arn: arn, TookMs: float64(time.Since(started).Microseconds()) / 1000}
	if err != nil {
		said.Error = err.Error()
	}
	line, _ := json.Marshal(said)
	fmt.Println(string(line))
}
