// Renders a chart as "helm template" does: values files are merged in order, checked against the schema, and the objects printed.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	chart, err := loader.Load(os.Args[1])
	fail(err)
	values := chartutil.Values{}
	for _, path := range os.Args[2:] {
		read, err := chartutil.ReadValuesFile(path)
		fail(err)
		values = chartutil.CoalesceTables(read, values)
	}
	options := chartutil.ReleaseOptions{Name: "kiam", Namespace: "kube-system", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(chart, values, options, nil)
	fail(err)
	files, err := engine.Render(chart, all)
	fail(err)
	names := []string{}
	for name := range files {
		if strings.HasSuffix(name, ".yaml") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("---\n%s\n", files[name])
	}
}
