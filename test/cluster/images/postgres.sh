#!/bin/bash
# Entry point of the database image. On an empty data folder it makes a
# database cluster from POSTGRES_USER (default postgres), POSTGRES_PASSWORD or
# POSTGRES_PASSWORD_FILE, and POSTGRES_DB (default: the user's name). Then it
# becomes the command that it is given.
set -euo pipefail

[ $# -gt 0 ] || set -- postgres
case "$1" in
-*) set -- postgres "$@" ;;
esac

if [ "$1" = postgres ] && ! [ -s "$PGDATA/PG_VERSION" ]; then
	user=${POSTGRES_USER:-postgres}
	database=${POSTGRES_DB:-$user}
	password=${POSTGRES_PASSWORD:-}
	if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
		password=$(cat "$POSTGRES_PASSWORD_FILE")
	fi
	remote=scram-sha-256
	if [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
		remote=trust
	elif [ -z "$password" ]; then
		echo "POSTGRES_PASSWORD is empty: set it, or set POSTGRES_HOST_AUTH_METHOD=trust" >&2
		exit 1
	fi
	mkdir -p "$PGDATA"
	chmod 700 "$PGDATA" 2>/dev/null || true
	# Every program below is a child of the shell; the password enters through
	# a pipe and never stands on a command line.
	initdb --pgdata="$PGDATA" --username="$user" --pwfile=<(printf '%s\n' "${password:-unused}") \
		--auth-local=trust --auth-host="$remote" --encoding=UTF8 --locale=C.UTF-8 --no-instructions --no-sync
	echo "host all all all $remote" >>"$PGDATA/pg_hba.conf"
	if [ "$database" != postgres ]; then
		# The server listens to nobody else yet: a client that connects finds
		# the database there.
		pg_ctl --pgdata="$PGDATA" --wait --silent --options="-c listen_addresses='' -c unix_socket_directories=/tmp -c fsync=off" start
		createdb --host=/tmp --username="$user" --no-password "$database"
		pg_ctl --pgdata="$PGDATA" --wait --silent --mode=fast stop
	fi
fi

if [ "$1" = postgres ]; then
	shift
	# A read-only root file system may lack the usual folder for the socket.
	sockets=/run/postgresql,/tmp
	[ -w /run/postgresql ] || sockets=/tmp
	set -- postgres -c listen_addresses='*' -c unix_socket_directories="$sockets" "$@"
fi
exec "$@"
