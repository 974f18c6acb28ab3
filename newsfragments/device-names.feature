``koboldfs admin device`` takes ``dev3`` as well as 3.
