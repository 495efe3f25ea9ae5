package schema

// QueriesFor gives the SQL that is sent to a server of a version.
func QueriesFor(server int) map[string]string {
	out := map[string]string{}
	for _, q := range queries(server) {
		out[q.what] = q.sql
	}
	return out
}
