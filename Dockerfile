# The image is one static binary and nothing else. `make image` builds the
# same without Docker; this file is for those who have it:
#
#   make build && docker build -t lockstep .
FROM scratch
COPY .build/bin/lockstep /lockstep
USER 65534:65534
ENTRYPOINT ["/lockstep"]
