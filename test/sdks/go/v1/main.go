// A program as it might run in any pod: the AWS SDK for Go v1 with nothing configured, save the address of STS, which it does
// not read from the environment, and credentials fetched anew each time.
package main

import (
	"os"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/sts"

	"kiam/test/sdks/say"
)

func main() {
	say.Identity(func() (string, error) {
		settings, err := session.NewSession()
		if err != nil {
			return "", err
		}
		service := sts.New(settings, &aws.Config{Endpoint: aws.String(os.Getenv("AWS_ENDPOINT_URL_STS"))})
		identity, err := service.GetCallerIdentity(&sts.GetCallerIdentityInput{})
		if err != nil {
			return "", err
		}
		return aws.StringValue(identity.Arn), nil
	})
}
