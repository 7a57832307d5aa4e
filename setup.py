"""Build the optional compiled modules; without a compiler their pure-Python twins are used."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from Cython.Build import cythonize
except ImportError:
    cythonize = None


class OptionalBuild(build_ext):
    """Warn instead of failing: everything works, slower, on the pure-Python twins."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            self.warn(f"compiled modules not built ({error}); their pure-Python twins are used")

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            self.warn(f"{ext.name} not built ({error}); the pure-Python twin is used")


def extensions() -> list[Extension]:
    if cythonize is None:
        return []
    sources = [
        Extension(name, [name.replace(".", "/") + ".pyx"], optional=True)
        for name in (
            "chatd._frames",
            "sfu._rewrite",
            "sfu._arrivals",
            "sfu._fanout",
            "sfu._inlet",
            "loadtest._streams",
            "loadtest._audience",
        )
    ]
    return cythonize(sources, compiler_directives={"language_level": "3"})


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
