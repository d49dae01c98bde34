"""Loading an object file with LLVM: for systems that `object_file` does not know."""

from __future__ import annotations

import ctypes
from typing import Final

_UNUSED: Final = (  # called on error paths that a kernel never takes
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "PyBytes_FromStringAndSize",
    "PyErr_Clear",
    "PyErr_SetNone",
    "PyErr_SetString",
    "PyErr_WriteUnraisable",
    "PyExc_RuntimeError",
    "PyExc_StopIteration",
    "PyExc_SystemError",
    "PyUnicode_FromString",
    "Py_DecRef",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
)


class LlvmObject:
    """Machine code in memory, linked by LLVM's just-in-time linker.

    Raises
    ------
    ValueError
        LLVM refuses the object.
    """

    def __init__(self, data: bytes) -> None:
        import llvmlite.binding as llvm

        from vstore.native.signatures import LAYOUTS

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._compiler = llvm.create_lljit_compiler(machine)
        library = llvm.JITLibraryBuilder().add_object_img(data).add_current_process()
        never = ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value
        for name in _UNUSED:
            library.import_symbol(name, never)
        for name in LAYOUTS:
            library.export_symbol(f"vstore_{name}")
        try:
            self._tracker = library.link(self._compiler, "vstore")
        except RuntimeError as error:
            raise ValueError(f"object file: {error}") from error

    def address(self, name: str) -> int:
        """Return the address of a function."""
        found: int = self._tracker[name]
        return found
