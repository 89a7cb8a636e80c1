from hypothesis import settings

settings.register_profile('steady', deadline=None)  # two cores may be shared
settings.load_profile('steady')
