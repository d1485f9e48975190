"""What every other folder uses: errors, progress, files, child processes, the frame of a command line."""
