// A program as it might run in any pod: the AWS SDK for Go v2 with nothing configured. It says who STS says it is, at the
// start and again for each line of its input, with credentials that it fetches anew.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

type answer struct {
	Arn    string  `json:"arn,omitempty"`
	Error  string  `json:"error,omitempty"`
	TookMs float64 `json:"tookMs"`
}

func main() {
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client := sts.NewFromConfig(settings)
	say(client)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if cache, isCache := settings.Credentials.(*aws.CredentialsCache); isCache {
			cache.Invalidate()
		}
		say(client)
	}
}

func say(client *sts.Client) {
	started := time.Now()
	identity, err := client.GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	said := answer{TookMs: float64(time.Since(started).Microseconds()) / 1000}
	if err != nil {
		said.Error = err.Error()
	} else {
		said.Arn = aws.ToString(identity.Arn)
	}
	line, _ := json.Marshal(said)
	fmt.Println(string(line))
}
