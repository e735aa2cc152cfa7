// A program as it might run in any pod: minio-go with the credentials of the instance, fetched anew each time. It reads who it
// is from an object.
package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"kiam/test/sdks/say"
)

func main() {
	host := strings.TrimPrefix(os.Getenv("KIAM_TEST_STORE"), "http://")
	say.Identity(func() (string, error) {
		client, err := minio.New(host, &minio.Options{Creds: credentials.NewIAM(""), Region: os.Getenv("AWS_REGION")})
		if err != nil {
			return "", err
		}
		object, err := client.GetObject(context.Background(), "identity", "whoami", minio.GetObjectOptions{})
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(object)
		return string(text), err
	})
}
