# Everything from a fresh clone: each target makes the environment it needs. `make help` lists them.

PYTHON ?= python3
VENV   ?= .venv
MODEL  ?= mobilenet_v3
OUT    ?= artifacts/$(subst :,_,$(notdir $(MODEL)))
ARGS   ?=
DIST   ?= dist
PHOTOGRAPHS ?=
CHECKPOINT ?=
PADDLE ?=
MINUTES ?= 10
PYTHONS ?= $(PYTHON)
GPU_WHEELS ?=
BUNDLE ?=

# PyPI's onnxruntime-gpu carries the CUDA and TensorRT providers on x86-64 Linux only; it runs on the CPU too.
ORT    := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),gpu,cpu)
READY  := $(VENV)/.ready
RUN    := $(VENV)/bin/
OLDEST := $(VENV)-oldest

# What of the tests meets torch, onnx and onnxsim: reading weights, exporting, normalizing, quantizing.
OLDEST_TESTS := tests/calibration/normalize tests/calibration/targets tests/export/pretrained tests/export/stages
# The first onnxruntime that can judge INT8 beside float16; `make device-test` has the oldest of all, 1.23.
OLDEST_ORT   := 1.30.0

# MobileNetV2's photographs and ImageNet weights, and PaddleOCR's two networks, for the benchmarks that want them.
OWN     := $(if $(PHOTOGRAPHS),--photographs "$(PHOTOGRAPHS)" --checkpoint "$(CHECKPOINT)")
PADDLES := $(if $(PADDLE),--paddle "$(PADDLE)")

.DEFAULT_GOAL := help
.PHONY: help install export train run test slow-test browser-test fuzz guided-fuzz reliability soak mutants check lint types bench bench-export bench-int8 bench-runner gpu-test zoo foreign device-test oldest-test wheel docs report-picture determinism audit constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  for example: make export MODEL=mobilenet_v3 ARGS="--weights FILE --data imagefolder:DIR"'

install: $(READY) ## make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --constraint constraints.txt --editable ".[export,$(ORT),dev]"
	@touch $@

export: $(READY) ## take MODEL to a proven bundle in artifacts/ (replaces the one there)
	$(RUN)edgeproof export $(MODEL) --out $(OUT) --force $(ARGS)

train: $(READY) ## train MODEL by its recipe, or go on after an interrupt (ARGS="--data NAME --epochs N")
	$(RUN)edgeproof train $(MODEL) $(ARGS)

run: $(READY) ## label SOURCE (pictures, folders) with the bundle of MODEL
	@test -n "$(SOURCE)" || { echo 'say what to label: make run MODEL=$(MODEL) SOURCE=picture.jpg' >&2; exit 2; }
	@if test -e "$(SOURCE)"; then set -- "$(SOURCE)"; else set -- $(SOURCE); fi; \
		$(RUN)edgeproof run "$(OUT)" "$$@" $(ARGS)

test: $(READY) ## run the tests, but for the slow ones
	$(RUN)python -m pytest -m "not slow and not browser" $(ARGS)

slow-test: $(READY) ## run the slow tests: heavy networks, real photographs, the README's commands
	$(RUN)python -m pytest -m slow $(ARGS)

browser-test: $(READY) ## open a report in Debian's chromium: no error, no request, nothing too wide for a phone
	$(RUN)python -m pytest -m browser $(ARGS)

fuzz: $(READY) ## read damaged files of every format for so many MINUTES, and write docs/hostile_input.md
	$(RUN)python tests/fuzz/fuzzing.py --minutes $(MINUTES) --write docs/hostile_input.md $(ARGS)

guided-fuzz: $(READY) ## the same for so many MINUTES, guided by the lines that a damaged file reaches (atheris)
	$(RUN)python tests/fuzz/guided.py --minutes $(MINUTES) $(ARGS)

reliability: $(READY) ## kill, fill and starve edgeproof, and write docs/reliability.md; takes Debian's strace
	$(RUN)python tests/faults/reliability.py --write docs/reliability.md $(ARGS)

soak: $(READY) ## run for hours with faults on the way, and write docs/soak.md
	$(RUN)python tests/soak/soak.py --write docs/soak.md $(ARGS)

mutants: $(READY) ## plant a sample of small faults, and print the share that the tests see
	$(RUN)python tests/mutants.py $(ARGS)

check: lint types test ## lint, types and tests: what must pass before a commit

lint: $(READY) ## style, and imports that go down the floors only
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	@rm -rf build/lint && mkdir -p build/lint/edgeproof
	@ln -s $(CURDIR)/package/* $(CURDIR)/runtime $(CURDIR)/calibration $(CURDIR)/export build/lint/edgeproof
	PYTHONPATH=build/lint $(RUN)lint-imports --no-logo

types: $(READY) ## type-check the three floors
	$(RUN)pyrefly check

bench: bench-export bench-int8 bench-runner ## measure everything beside its rivals, and write docs/benchmarks.md (takes hours)
	$(RUN)python benchmarks/summary.py --write docs/benchmarks.md

bench-export: $(READY) ## measure the export path and write docs/export_speed.md
	$(RUN)python benchmarks/export_speed.py --write docs/export_speed.md $(ARGS)

bench-int8: $(READY) ## measure INT8 beside its rivals and write docs/int8.md (PHOTOGRAPHS=DIR CHECKPOINT=FILE PADDLE=DIR)
	$(RUN)python benchmarks/int8.py --write docs/int8.md $(OWN) $(PADDLES) $(ARGS)
	$(if $(PHOTOGRAPHS),$(RUN)python benchmarks/int8_folds.py --write docs/int8.md $(OWN))

bench-runner: $(READY) ## measure the runner and write docs/runner.md (PHOTOGRAPHS=DIR; BUNDLE is of another than MODEL)
	@test -n "$(PHOTOGRAPHS)" || { echo 'say which photographs: make bench-runner PHOTOGRAPHS=DIR' >&2; exit 2; }
	$(RUN)python benchmarks/runner.py --write docs/runner.md $(or $(BUNDLE),$(OUT)) "$(PHOTOGRAPHS)" $(ARGS)

gpu-test: ## placement, answers and speed on this machine's GPU, written to docs/gpu.md; needs no .venv
	$(PYTHON) benchmarks/gpu_test.py --write docs/gpu.md $(if $(GPU_WHEELS),--wheels "$(GPU_WHEELS)") $(if $(BUNDLE),--bundle "$(BUNDLE)") $(ARGS)

zoo: $(READY) ## export every network and write docs/models.md and docs/placed_models.md (PHOTOGRAPHS=DIR CHECKPOINT=FILE)
	$(RUN)python benchmarks/zoo.py --write docs/models.md $(OWN)
	$(RUN)python benchmarks/zoo.py --placed --write docs/placed_models.md

foreign: $(READY) ## take networks that others exported through every step and write docs/foreign.md (PADDLE=DIR)
	$(RUN)python benchmarks/foreign.py --write docs/foreign.md $(if $(PADDLE),--folder "$(PADDLE)") $(ARGS)

device-test: $(READY) ## the wheel on a bare Python 3.10 with onnxruntime 1.23.2, as on JetPack 6, and on 3.13
	$(RUN)python tests/device/run.py

oldest-test: $(OLDEST)/.ready ## tests of the export with the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -m "not slow" $(OLDEST_TESTS) $(ARGS)

$(OLDEST)/.ready: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python tests/lowest.py export > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt \
		--editable ".[export,cpu]" "onnxruntime==$(OLDEST_ORT)" hypothesis pytest pytest-timeout
	@touch $@

wheel: $(READY) ## build the wheel for the device in dist/
	rm -rf build/lib build/bdist.*
	$(RUN)python -m build --wheel --no-isolation --outdir $(DIST) . >/dev/null

docs: $(READY) export ## write the README's table, docs/commands.md and docs/api.md from the program
	$(RUN)python docs/generate.py $(OUT)
	$(RUN)python docs/api.py
	$(RUN)python docs/schema.py
	$(RUN)python docs/messages.py

report-picture: $(READY) ## write docs/report.png from the report in OUT; takes Debian's chromium
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=720,1330 \
	  --screenshot=$(CURDIR)/docs/report.png file://$(CURDIR)/$(OUT)/report.html

determinism: $(READY) ## export with several PYTHONS, each in an environment of its own, and write docs/determinism.md
	$(RUN)python tests/determinism.py --write docs/determinism.md $(ARGS) $(PYTHONS)

audit: $(READY) ## known vulnerabilities, packages that are not locked, and licences
	$(RUN)python tests/audit.py

constraints: $(READY) ## write the versions of this environment to constraints.txt
	{ sed -n '/^#/p' constraints.txt; $(RUN)python -m pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

clean: ## remove the environment, and what was built and exported
	rm -rf $(VENV) $(OLDEST) artifacts build dist *.egg-info
