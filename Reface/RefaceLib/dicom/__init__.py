"""DICOM series: read as volumes, written back into copies of their own files, with headers that name nobody."""
