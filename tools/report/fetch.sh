#!/bin/sh
# fetch.sh - fetches what package-lock.json names into the working folder: fetch.sh NPM
"$1" ci --ignore-scripts --no-audit --no-fund --loglevel=error && exit 0
cat >&2 <<'END'

uPlot, with which the HTML report draws, could not be fetched by npm.
Behind a proxy that has certificates of its own, set NODE_EXTRA_CA_CERTS to them, for example to
/etc/ssl/certs/ca-certificates.crt. Without a network, name a folder that has uPlot.iife.min.js and
uPlot.min.css: cmake --preset release -DYAMANOTE_UPLOT_DIR=FOLDER, then the same command again.
END
exit 1
