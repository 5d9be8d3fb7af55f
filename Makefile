# make demo    a photo speaks, from nothing
# make test    the tests, from nothing
# make check   lint, types, import floors
SETUP = setup.cfg pyproject.toml board/setup.sh board/fetch_assets.py
SHARE = .venv/share/sonic-edge

.PHONY: demo test check check-units example-config setup clean

setup: .venv/ready

demo: .venv/ready
	@mkdir -p demo
	.venv/bin/sonic-edge render $(SHARE)/samples/portrait.jpg $(SHARE)/samples/speech.flac -o demo/talking.mp4
	@echo "The talking portrait: $$PWD/demo/talking.mp4"

test: .venv/ready-test
	.venv/bin/python -m pytest

check: .venv/ready-lint
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/lint-imports

check-units:
	systemd-analyze verify --man=no systemd/*.service

example-config: .venv/ready
	.venv/bin/sonic-edge check-config > board/sonic-edge.yaml

.venv/ready: $(SETUP)
	board/setup.sh
	@touch $@

.venv/ready-test: $(SETUP)
	board/setup.sh test
	@touch .venv/ready $@

.venv/ready-lint: $(SETUP)
	board/setup.sh test lint
	@touch .venv/ready .venv/ready-test $@

clean:
	rm -rf .venv .venv39 build demo *.egg-info
