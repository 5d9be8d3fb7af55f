# make demo    make a photo speak; sets everything up first
# make test    run the tests; sets everything up first
# make demo-live   play a sentence into a virtual microphone and record screen and sound
# make bench-live  live mode: latency by part, skew of sound and picture, drops, CPU share; MINUTES=1
# make bench     processor time of every stage, of whole videos and of an idle box; ARGS="--only stages"
# make torture     stress tests too long for a test run: kills, power cuts, bad disks, junk, broken files; ARGS="--only kills"
# make board-test  the service on a virtual board: a real systemd, camera, microphone, screen, USB stick
# make bundle  one file that installs the product on a box without a network; ARGS="--suite bookworm --here ..."
# make arm64-test  the offline bundle, the sample and the fast tests on an emulated arm64 Debian; 10 to 20 minutes
# make processors  the model on every kind of processor that this machine can emulate; ARGS="--forms --speech FOLDER"
# make check   lint, types, import contracts, shell files
# make sanitize   the C code under ASan and UBSan, over its tests
# make everything   every proof there is, one after another: hours; what cannot run here is reported as NOT RUN
# make docs    the API reference, from the docstrings
# make shell   the manual page and the shell completions, from the command line's parser
# make release     build wheel and source package, check them, try them in a clean environment
# make render-eval   the quality of the renderer alone; PEOPLE=folder of measure.py and its clips, SIZE=512
# make model   the network from scratch: corpus, training, export, INT8, parity (about an hour on two cores)
# make model-test   the tests that need MindSpore
# make convert     compile the model for an Ascend chip; SOC=Ascend310B4, ARGS=--dry-run only shows the commands
# make model-eval   the quality of the model; SPEECH=folder of recordings with texts, PEOPLE=folder of measure.py and its clips
# make moving-picture   the README's moving picture, with captions, made from the demo's video
# make architecture   the picture of the processes and the data between them; needs Graphviz (apt install graphviz)

# the environment that `test` and `sanitize` use; made with PYTHON (default python3) if it is not there
VENV = .venv
export VENV

SETUP = setup.cfg setup.py pyproject.toml $(wildcard sonic_edge/engine/renderer/*.[ch]) board/setup.sh board/fetch_assets.py
SHARE = .venv/share/sonic-edge

.PHONY: demo demo-live bench bench-live test torture board-test board-test-1 arm64-test processors bundle check sanitize everything example-config shell docs release moving-picture architecture render-eval convert model model-test model-eval setup clean

setup: .venv/ready

demo: .venv/ready
	@mkdir -p demo
	.venv/bin/sonic-edge render $(SHARE)/samples/portrait.jpg $(SHARE)/samples/speech.flac -o demo/talking.mp4 \
	    --sheet demo/sheet.png
	@echo "The talking portrait: $$PWD/demo/talking.mp4, and a contact sheet of it: $$PWD/demo/sheet.png"

demo-live: .venv/ready-test
	@mkdir -p demo
	.venv/bin/python tests/measure_live.py demo demo/live.mp4
	@echo "Screen and loudspeaker while a sentence is spoken to the box: $$PWD/demo/live.mp4"

ARGS =

bench: .venv/ready-test
	.venv/bin/python -m tests.bench $(ARGS)

MINUTES = 1

bench-live: .venv/ready-test
	.venv/bin/python tests/measure_live.py bench --minutes $(MINUTES)

test: $(VENV)/ready-test
	$(VENV)/bin/python -m pytest

check: .venv/ready-lint
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/lint-imports
	.venv/bin/shellcheck --check-sourced $$(awk 'FNR == 1 && /^#!.*sh$$/ { print FILENAME }' .ci/* board/*.sh models/*.sh)

sanitize: $(VENV)/ready-test
	.ci/sanitize

everything:
	.ci/everything

board-test: .venv/ready
	.venv/bin/python board/virtual

board-test-1: .venv/ready
	.venv/bin/python board/virtual 1

arm64-test: .venv/ready
	.venv/bin/python board/arm64

processors: .venv/ready-convert
	.venv/bin/python board/processors $(ARGS)

torture: .venv/ready-test
	.venv/bin/python -m tests.torture $(ARGS)

bundle: .venv/ready
	@board/make_bundle.sh $(ARGS)

example-config: .venv/ready
	.venv/bin/sonic-edge check-config > board/sonic-edge.yaml

shell: .venv/ready-test
	.venv/bin/python board/shell board/shell

docs: .venv/ready-docs
	rm -rf build/docs
	.venv/bin/python -W error -m pdoc --docformat google --no-show-source --output-directory build/docs sonic_edge
	@echo "The API reference: $$PWD/build/docs/index.html"

release: .venv/ready-release
	@board/make_release.sh

PICTURES = docs/pictures

moving-picture: demo
	.venv/bin/python board/moving_picture.py demo/talking.mp4 $(PICTURES)/captions.vtt $(PICTURES)/speaking.webp

# each ends with the hash of its source, by which tests/test_readme.py sees whether the picture is up to date
architecture:
	for name in architecture architecture.zh; do \
	    dot -Tsvg $(PICTURES)/$$name.dot > $(PICTURES)/$$name.svg && \
	    echo "<!-- $$(sha256sum < $(PICTURES)/$$name.dot | cut -d ' ' -f 1) -->" >> $(PICTURES)/$$name.svg || exit; done

$(VENV)/ready: $(SETUP)
	board/setup.sh
	@touch $@

# the tests need all that models.convert does
$(VENV)/ready-test: $(SETUP)
	board/setup.sh test
	@touch $(VENV)/ready $(VENV)/ready-convert $@

.venv/ready-docs: $(SETUP)
	board/setup.sh live docs
	@touch .venv/ready $@

.venv/ready-release: $(SETUP)
	board/setup.sh release
	@touch .venv/ready $@

.venv/ready-lint: $(SETUP)
	board/setup.sh test lint
	@touch .venv/ready .venv/ready-convert .venv/ready-test $@

SOC =

convert: .venv/ready-convert
	@test -n "$(SOC)" || { echo "SOC=chip is needed, by the name ATC uses: Ascend310, Ascend310B4; see npu-smi info"; exit 2; }
	.venv/bin/python -m models.convert --soc "$(SOC)" $(ARGS)

.venv/ready-convert: $(SETUP)
	board/setup.sh convert
	@touch .venv/ready $@

SPEECH =
PEOPLE =
SIZE = 512

render-eval: .venv/ready
	@test -n "$(PEOPLE)" || { echo "PEOPLE=folder of measure.py and its clips is needed"; exit 2; }
	.venv/bin/python tests/measure_renderer.py "$(PEOPLE)" --size $(SIZE)

MODELS = models/.venv/bin/python

models/.venv/ready: models/setup.sh models/requirements.txt setup.cfg setup.py sonic_edge/engine/renderer/_pixels.c
	models/setup.sh
	@touch $@

model: models/.venv/ready .venv/ready-convert
	$(MODELS) -m models.corpus
	$(MODELS) -m models.train
	$(MODELS) -m models.export
	$(MODELS) -m models.quantize
	.venv/bin/python -m models.reference --float models/build/trained
	$(MODELS) -m models.parity

model-test: models/.venv/ready
	$(MODELS) -m pytest models/tests/needs_mindspore.py

model-eval: models/.venv/ready .venv/ready
	$(MODELS) -m models.evaluate
	$(MODELS) -m models.evaluate_life
	@if [ -n "$(SPEECH)" ]; then $(MODELS) -m models.aligned "$(SPEECH)" && \
	    $(MODELS) -m models.aligned "$(SPEECH)" --noise-db 5; \
	    else echo "NOT RUN: closures, rounding and silences in real speech: SPEECH=folder is not given"; fi
	@if [ -n "$(PEOPLE)" ]; then $(MODELS) -m models.read_faces "$(PEOPLE)/dev/portraits" --turned && \
	    "$(PEOPLE)/venv/bin/python" "$(PEOPLE)/measure.py" suite "$(PEOPLE)/dev/manifest.yaml" \
	    --cmd "$$PWD/.venv/bin/sonic-edge render {portrait} {speech} -o {out}" --out models/build/people --only t_; \
	    else echo "NOT RUN: what is estimated from faces; lips compared with people on video: PEOPLE=folder is not given"; fi

clean:
	rm -rf .venv .venv39 .venv313 build demo *.egg-info sonic_edge/engine/renderer/*.so
