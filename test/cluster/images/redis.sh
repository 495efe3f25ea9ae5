#!/bin/sh
# Entry point of the cache image: arguments alone are for the server, which
# answers other pods unless it is told to protect itself.
set -eu

[ $# -gt 0 ] || set -- redis-server
case "$1" in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
	shift
	case "${1:-}" in
	*.conf)
		config=$1
		shift
		set -- redis-server "$config" --protected-mode no "$@"
		;;
	*) set -- redis-server --protected-mode no "$@" ;;
	esac
fi
exec "$@"
