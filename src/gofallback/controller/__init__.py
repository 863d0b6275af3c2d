"""Files and facts of the controller: the artifact store, caches, pins, the identity of a run, the gate of a pause.

`paths` names every folder; the others keep one kind of file each, and raise an error of their own in one line.
May import the pure rooms, ``model`` and the ground; no ``git``, no pyinfra. A new kind of file: a property in
``paths.Home``, then one module here.
"""
