"""Results for people and for programs.

`tables` and `curves` belong to `fprdo compare`, `ctc_table`, `ctc_files` and `ctc_sheet` to `fprdo ctc`, `heatmap` to
both and to `fprdo show`. `figures` is what all drawings share. Names from outside are escaped here and nowhere markup.
"""
