// A program as it might run in any pod: the AWS SDK for Go v2 with nothing configured, and credentials fetched anew each time.
package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"kiam/test/sdks/say"
)

func main() {
	say.Identity(func() (string, error) {
		settings, err := config.LoadDefaultConfig(context.Background())
		if err != nil {
			return "", err
		}
		identity, err := sts.NewFromConfig(settings).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", err
		}
		return aws.ToString(identity.Arn), nil
	})
}
