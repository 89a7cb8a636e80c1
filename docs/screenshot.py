"""Draws docs/images/report.webp: the report of a training on photos of clothes, as a browser shows it.

PYTHONPATH=. python docs/screenshot.py     needs FINETUNER_DATA, torch, pillow, playwright and chromium; takes a minute
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks import models, photos
from finetuner.api import fit
from finetuner.data.augmentation import vision_preprocessor
from finetuner.evaluation import Evaluator, report

PICTURE = Path(__file__).parent / 'images' / 'report.webp'
WIDTH = 1000


def made(path: Path) -> Path:
    """Train the small ResNet of the benchmarks, and report on photos that it did not see."""
    trained, judged = photos.data('photos')
    still = vision_preprocessor(models.PHOTO, models.PHOTO, normalize=True, phase='validation')
    model = models.photos_model('resnet', 0)
    before, after = Evaluator(judged, model=model), Evaluator(judged, model=model)
    before.evaluate(preprocess_fn=still)
    fit(model, trained, preprocess_fn=still, seed=0)
    after.evaluate(preprocess_fn=still)
    return report(before, after, path, metric='map_at_r', title='Photos of clothes, before and after tuning')


def drawn(path: Path) -> Image.Image:
    """Three parts of the page, one below the other: its top, two queries, and the map."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': WIDTH, 'height': 800})
        page.goto(path.as_uri())
        bottom = page.locator('#metrics tbody tr').nth(4).bounding_box()
        shots = [page.screenshot(clip={'x': 0, 'y': 0, 'width': WIDTH, 'height': bottom['y'] + bottom['height']})]
        for place in ('#improved article >> nth=0', '#improved article >> nth=1', '#map'):
            shots.append(page.locator(place).screenshot())
        browser.close()
    parts = [Image.open(io.BytesIO(shot)).convert('RGB') for shot in shots]
    whole = Image.new('RGB', (WIDTH, sum(part.height + 16 for part in parts)), 'white')
    y = 0
    for part in parts:
        whole.paste(part, ((WIDTH - part.width) // 2, y))
        y += part.height + 16
    return whole


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        drawn(made(Path(folder) / 'report.html')).save(PICTURE, quality=76, method=6)
