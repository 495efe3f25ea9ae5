package main

import "fmt"

// generation is set when the image is built: -ldflags "-X main.generation=2".
// The same source makes the backend of before tenants and the one of after, so
// that a demo can let old code meet the new schema.
//
//nolint:gochecknoglobals // The linker sets nothing but package variables.
var generation = "1"

// build is what this build of the backend knows of the database.
type build struct {
	version string
	// tenants says whether rows are read and written by tenant.
	tenants bool
	schema  schemaRange
}

// schemaRange is the versions of the schema with which a build is known to
// work. Max 0 means that no version is known to break it.
type schemaRange struct {
	Min int64 `json:"min"`
	Max int64 `json:"max,omitempty"`
}

func newBuild(generation string) (build, error) {
	switch generation {
	case "1":
		// It inserts rows without tenant_id and relies on the default of the
		// column. Version 2 is the last one known to have it.
		return build{version: "v1", schema: schemaRange{Min: 1, Max: 2}}, nil
	case "2":
		return build{version: "v2", tenants: true, schema: schemaRange{Min: 2}}, nil
	default:
		return build{}, fmt.Errorf("built as generation %q: there are 1 and 2", generation)
	}
}
