"""What setup.cfg cannot express: the compiled part of the renderer."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "sonic_edge.engine.renderer._pixels",
            ["sonic_edge/engine/renderer/_pixels.c", "sonic_edge/engine/renderer/_drawn.c"],
            depends=["sonic_edge/engine/renderer/_pixels.h"],
            # the same bytes on every processor: no fused multiply-add, which only some have
            extra_compile_args=[
                "-std=c99",
                "-O3",
                "-ffp-contract=off",
                "-fno-math-errno",
                "-fwrapv",
                "-Wall",
                "-Wextra",
            ],
        )
    ]
)
