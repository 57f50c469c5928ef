"""The report of a training: what there is to say of it, its curves as pictures, and the pages that print.

`facts` reads, `curves` draws, `document` lays out; only the last one needs the thread of the window.
"""
