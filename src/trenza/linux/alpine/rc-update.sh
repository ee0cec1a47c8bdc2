#!/bin/sh
# OpenRC's rc-update: nodes do not boot, so that there is nothing to do.
echo ' * rc-update: a node does not boot; start the service with /etc/init.d/NAME start'
