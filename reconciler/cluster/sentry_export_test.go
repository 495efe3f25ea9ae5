package cluster

// TokenOf is the token of an object, for tests that write entries by hand.
var TokenOf = token
